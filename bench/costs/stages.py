"""The command `stages`: what each step of an event costs the server, alone and in a batch.

In memory: no sockets, no Postgres. What is missing to `bench compare` is HTTP, the kernel, asyncpg,
and that an event under load is met again only when it has left the caches.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, NamedTuple

import click

from bench import console, machine
from bench.console import Console
from bench.errors import BenchError
from bench.load import payloads
from bench.load.payloads import Payload
from ingest.delivery.intake import Intake
from ingest.delivery.outcome import Ack, Outcome, Waiter, settle
from ingest.delivery.queue import EventQueue
from ingest.delivery.queues import Queues
from ingest.events import copy_format, copy_reader, event, row_json
from ingest.events.client_fields import Span
from ingest.events.drafts import Drafts
from ingest.events.ids import IdSequence
from ingest.store.apps import App

EVENTS: Final = 1_000
ROUNDS: Final = 5
_NAME_CHARS_MAX: Final = 255
_APP: Final = App(1, "bench")
_ALL_STEPS: Final = "intake, all of it"

Way = Callable[[], object]


@click.command()
@click.option("--repeats", default=50, type=click.IntRange(1), help="Of each step, each round.")
def stages(*, repeats: int) -> None:
    """Measure what each step of an event costs the server, alone and as one of a batch."""
    screen = console.make()
    with console.progress(screen, "timing", ROUNDS) as update:
        found = measure(repeats, lambda: update(advance=1))
    show(screen, found)


class StepCost(NamedTuple):
    """Microseconds for one event; None where there is no such step."""

    alone_us: float | None
    batched_us: float | None


class Everybody:
    """Waits for every event, as cheaply as a batch's answer does."""

    def __init__(self) -> None:
        self.settled = 0

    def of(self, _index: int) -> Waiter:
        """Return who waits for one event."""
        return self

    def settle(self, _fate: Outcome, _row: bytes = b"") -> None:
        """Count an answer."""
        self.settled += 1


class Steps:
    """The steps, each for EVENTS events."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._body = payload.body
        self._array = b"[%b]" % b",".join([payload.body] * EVENTS)
        self._params = [payload.params.encode()] * EVENTS
        self._names = [payload.name] * EVENTS
        found = event.decode_array(self._array)
        if found is None:
            raise BenchError("the example is no event")
        self._found = found
        self._ids = IdSequence()
        self._stamps = self._ids.take(EVENTS)
        self._head = copy_format.row_head(_APP.id)
        self._waiter = Everybody()

    @property
    def all(self) -> dict[str, tuple[Way | None, Way | None]]:
        """Return each step in order: for events that come alone, and for a batch."""
        return {
            "decode": (self._decode, self._decode_array),
            "find the unusual": (None, self._find_unusual),
            "stamp": (self._stamp, lambda: self._ids.take(EVENTS)),
            "make rows": (self._make_rows, self._make_many_rows),
            "make answers": (self._make_answers, self._make_many_answers),
            _ALL_STEPS: (self._accept, self._accept_batch),
            "tell that they are stored": (None, self._settle),
        }

    def check(self) -> None:
        """Raise BenchError unless both ways make the rows that are to be stored."""
        for accept in (self._accept, self._accept_batch):
            batch = asyncio.run(accept().plain.take())
            stored = [copy_reader.decode(row) for row in batch.rows]
            names = [each["event_name"] for each in stored]
            params = {each["event_params"] for each in stored}
            if names != self._names or params != {self._payload.params}:
                raise BenchError("the rows are not those of the events")

    def _decode(self) -> None:
        for _ in range(EVENTS):
            event.decode(self._body, _NAME_CHARS_MAX)

    def _decode_array(self) -> object:
        found = event.decode_array(self._array)
        return found and [bytes(each.event_params) for each in found.events]

    def _find_unusual(self) -> object:
        return event.unusual(self._found, self._names, self._params, _NAME_CHARS_MAX)

    def _stamp(self) -> None:
        for _ in range(EVENTS):
            self._ids.next()

    def _make_rows(self) -> None:
        event_id, _, received = self._ids.next()
        name = self._payload.name
        for params in self._params:
            copy_format.row(self._head, event_id, name.encode(), params, received.row)

    def _make_many_rows(self) -> object:
        stamps = self._stamps
        head = self._head + stamps.head
        return copy_format.many(head, stamps.lows, self._names, self._params, stamps.received.row)

    def _make_answers(self) -> None:
        _, event_id, received = self._ids.next()
        name = self._payload.name
        for params in self._params:
            row_json.plain_body(event_id, name, params, received.text)

    def _make_many_answers(self) -> object:
        stamps = self._stamps
        texts = stamps.low_texts
        return row_json.encode_plain(
            stamps.head_text, texts, self._names, self._params, stamps.received.text
        )

    def _accept(self) -> Queues:
        queues = _make_queues()
        intake = _make_intake(queues)
        for _ in range(EVENTS):
            intake.accept(_APP, self._body, self._waiter)
        return queues

    def _accept_batch(self) -> Queues:
        queues, drafts = _make_queues(), Drafts()
        intake = _make_intake(queues)
        found = event.decode_array(self._array)
        if found is not None:
            intake.draft_all(_APP, found, drafts)
        intake.accept_all(_APP, drafts, self._waiter)
        return queues

    def _settle(self) -> None:
        settle([self._waiter] * EVENTS, Ack.COMMITTED)


def measure(repeats: int, on_round: Callable[[], None]) -> dict[str, StepCost]:
    """Return what each step costs, medians over rounds of so many repeats."""
    steps = Steps(payloads.example())
    with machine.pinned(machine.split_cores().server):
        steps.check()
        rounds = []
        for _ in range(ROUNDS):
            rounds.append([_time(ways, repeats) for ways in steps.all.values()])
            on_round()
    middles = [
        StepCost(*map(_middle, zip(*step, strict=True))) for step in zip(*rounds, strict=True)
    ]
    return dict(zip(steps.all, middles, strict=True))


def _time(ways: tuple[Way | None, Way | None], repeats: int) -> StepCost:
    alone, batched = ways
    return StepCost(alone and _time_way(alone, repeats), batched and _time_way(batched, repeats))


def _time_way(way: Way, repeats: int) -> float:
    started_s = time.perf_counter()
    for _ in range(repeats):
        way()
    return (time.perf_counter() - started_s) / (repeats * EVENTS) * 1e6


def _middle(costs_us: Sequence[float | None]) -> float | None:
    known = [cost_us for cost_us in costs_us if cost_us is not None]
    return median(known) if known else None


def _make_queues() -> Queues:
    size = 1 << 30
    return Queues(
        lambda: EventQueue(
            events_max=EVENTS, bytes_max=size, batch_events_max=EVENTS, batch_bytes_max=size
        )
    )


def _make_intake(queues: Queues) -> Intake:
    return Intake(
        queues,
        event_name_chars_max=_NAME_CHARS_MAX,
        span=Span(0, 0),
        has_partition=lambda _: True,
    )


def show(screen: Console, found: dict[str, StepCost]) -> None:
    """Print a line for each step."""
    table = console.bare_table(("µs of CPU for each event",), ("alone", f"of {EVENTS:,}"))
    for name, cost in found.items():
        table.add_row(name, *("" if each is None else f"{each:.2f}" for each in cost))
    screen.print(table)
