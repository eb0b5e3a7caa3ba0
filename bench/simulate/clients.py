"""The clients: they send what the plan says, wait for answers, and note both as the audit does."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Final

from bench.audit.answers import Answer, file_answer
from bench.audit.history import LOST, QUIT, UNANSWERED
from bench.audit.workload import GOOD, GUARDED, Request, SentEvent, Workload, app_of
from bench.chance import happens
from bench.simulate.conversation import Conversation
from bench.simulate.plan import AGAIN, BATCH, BURST, POST, Action
from ingest.store.apps import App

if TYPE_CHECKING:
    from bench.simulate.recorder import MemoryRecorder
    from bench.simulate.server import Server
    from bench.simulate.watch import Watch
    from bench.simulate.world import World

CLIENTS: Final = 16
"""Of two apps, as the audit has it: eight clients each."""
FRESH: Final = 1_000_000
"""The number of the client that sends fresh events."""
PATIENCE_S: Final = 90.0
"""So long they wait for an answer."""
_AGAIN_S: Final = 0.3
_DELAY_S: Final = (0.000_02, 0.000_5)
_BAD: Final = 0.04
_POISON: Final = 0.05
_GUARDED: Final = 0.11
"""Such shares of all events are of these kinds."""
_SPREAD_S: Final = 1.0
"""Within so long at most the requests of a burst come."""
_PAST_DAYS_MAX: Final = 100
_EVENTS_OF_ACTION: Final = 100
_BATCH_MAX: Final = 10
_BURST_MIN: Final = 4
_BURST_MAX: Final = 40
_PARTIAL: Final = 207


@cache
def _workload() -> Workload:
    return Workload("s", 0)


class Clients:
    """All of them."""

    def __init__(
        self,
        world: "World",
        recorder: "MemoryRecorder",
        watch: "Watch",
        find: Callable[[], "Server | None"],
    ) -> None:
        self._world = world
        self._recorder = recorder
        self._watch = watch
        self._find = find
        """Returns the server that takes connections just now."""
        self._sent: dict[int, list[SentEvent]] = {}
        """By action."""
        self._attempts = 0
        self.open: dict[Conversation, None] = {}
        """Without an answer yet."""
        self.outside = 0
        """Requests whose clients could not connect yet."""
        self.last_status = 0

    def act(self, action: Action) -> None:
        """Do what an action says."""
        random = Random(action.seed)  # noqa: S311 - repeatable, not secret
        requests = self._requests(action, random)
        spread_s = _SPREAD_S * random.random() ** 4 if len(requests) > 1 else 0.0
        for request in requests:
            leaves_s = random.expovariate(20) if happens(random, 0.05) else None
            at_s = random.uniform(0, spread_s)
            self._world.after(at_s, self.send, request, action.number, leaves_s)

    def send(self, request: Request, action: int, leaves_s: float | None = None) -> None:
        """Send a request as soon as there is a server; perhaps leave before the answer."""
        self._world.stir()
        server = self._find()
        if server is None:
            self.outside += 1
            self._world.after(_AGAIN_S, self._try_again, request, action, leaves_s)
            return
        conversation = Conversation(
            request,
            _app_of(request),
            lambda answer: self._carry(conversation, answer),
            sent_s=self._world.now_s,
        )
        self._sent.setdefault(action, []).extend(request.events)
        for event in request.events:
            self._recorder.sent(event)
        self.open[conversation] = None
        delay_s = self._world.random.uniform(*_DELAY_S)
        self._world.after(delay_s, server.loop.arrive, conversation, conversation.begin, server)
        self._world.after(PATIENCE_S, self._give_up, conversation, UNANSWERED)
        if leaves_s is not None:
            self._world.after(leaves_s, self._leave, conversation)

    def send_fresh(self) -> None:
        """Send an event that has to be stored at once."""
        random = Random(0)  # noqa: S311 - repeatable, not secret
        self.last_status = 0
        self.send(Request((_workload().good(FRESH, 1, random),)), -1)

    def lose(self) -> None:
        """See all connections end: the server is gone."""
        for conversation in [*self.open]:
            self._give_up(conversation, LOST)

    def _try_again(self, request: Request, action: int, leaves_s: float | None) -> None:
        self.outside -= 1
        self.send(request, action, leaves_s)

    def _carry(self, conversation: Conversation, answer: Answer) -> None:
        """Have an answer under way: from now on it arrives whatever becomes of the server."""
        if self.open.pop(conversation, 0) is None:
            if answer.status >= _PARTIAL:
                self._watch.look(len(conversation.request.events), conversation.sent_s)
            delay_s = self._world.random.uniform(*_DELAY_S)
            self._world.after(delay_s, self._take, conversation, answer)

    def _take(self, conversation: Conversation, answer: Answer) -> None:
        events = conversation.request.events
        self._world.note(f"client: {events[0].label} and {len(events) - 1} more: {answer.status}")
        self.last_status = answer.status
        file_answer(self._recorder, conversation.request, answer)

    def _leave(self, conversation: Conversation) -> None:
        if conversation in self.open:
            conversation.is_left = True
            self._give_up(conversation, QUIT)

    def _give_up(self, conversation: Conversation, why: str) -> None:
        if self.open.pop(conversation, 0) is None:
            self._world.note(f"client: {conversation.request.events[0].label}: {why}")
            for event in conversation.request.events:
                self._recorder.unknown(event.label, why)

    def _requests(self, action: Action, random: Random) -> Sequence[Request]:
        client = random.randrange(CLIENTS)
        first = action.number * _EVENTS_OF_ACTION
        prefers_async = happens(random, 0.1)
        match action.kind:
            case k if k == POST:
                return [_request([_event(client, first, random, takes_key=True)], prefers_async)]
            case k if k == BATCH:
                count = random.randint(2, _BATCH_MAX)
                events = (
                    _event(client, first + at, random, takes_key=False) for at in range(count)
                )
                return [_request([*events], prefers_async)]
            case k if k == BURST:
                count = round(_BURST_MIN * (_BURST_MAX / _BURST_MIN) ** random.random())
                return [
                    Request((_event(client, first + at, random, takes_key=True),))
                    for at in range(count)
                ]
            case _:
                return self._repeats(action, random)

    def _repeats(self, action: Action, random: Random) -> Sequence[Request]:
        """Return requests that send claims of an action again, or other events with them."""
        requests = []
        claimed = [event for event in self._sent.get(action.of, ()) if event.claim]
        for at, event in enumerate(claimed[:_BATCH_MAX]):
            if action.kind == AGAIN:
                self._attempts += 1
                requests.append(Request((event._replace(attempt=self._attempts),)))
            else:
                number = action.number * _EVENTS_OF_ACTION + at
                client = int(event.token.split("-")[1])
                made = _workload().good(client, number, random, event.claim)
                requests.append(Request((made,)))
        return requests


def _request(events: Sequence[SentEvent], prefers_async: bool) -> Request:  # noqa: FBT001 - drawn
    """Return a request; who sends what is refused waits for the answer."""
    is_good = all(event.expected in {GOOD, GUARDED} for event in events)
    return Request(tuple(events), prefers_async and is_good)


def _app_of(request: Request) -> App:
    return App(app_of(int(request.events[0].token.split("-")[1])) + 1, "app")


def _event(client: int, number: int, random: Random, *, takes_key: bool) -> SentEvent:
    """Return an event of any kind."""
    workload, kind = _workload(), random.random()
    if kind < _BAD:
        return workload.bad(client, number, random)
    if kind < _BAD + _POISON:
        return workload.poison(client, number, random)
    make = workload.guarded if kind < _BAD + _POISON + _GUARDED else workload.good
    claim = ""
    if happens(random, 0.35):
        is_key = takes_key and happens(random, 0.5)
        claim = workload.claim(client, number, random, is_key=is_key)
    happened = _happened(random) if happens(random, 0.1) else ""
    return make(client, number, random, claim, happened)


def _happened(random: Random) -> str:
    """Return a time of the last days, for some of which there is no partition."""
    past = timedelta(days=random.uniform(0, _PAST_DAYS_MAX))
    moment = datetime.fromtimestamp(time.time(), UTC) - past
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
