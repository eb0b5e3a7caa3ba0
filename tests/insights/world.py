"""Events for the engine's tests: in Parquet as the archive writes it, and some in a tail.

What hypothesis makes of them is small and mean: few people, times that are equal or around a change
of clocks, parameters of mixed types under odd keys.
"""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import duckdb
from hypothesis import strategies as st

from ingest.insights.answers import Answer
from ingest.insights.engine import answer
from ingest.insights.known import Known
from ingest.insights.questions import Question

COLUMNS = 'id UUID, "at" TIMESTAMPTZ, created_at TIMESTAMPTZ, name VARCHAR, person VARCHAR'
LATER = datetime(2030, 1, 1, tzinfo=UTC)
CHANGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin: 02:00 becomes 03:00
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin: 03:00 becomes 02:00
    datetime(2026, 4, 23, 22, tzinfo=UTC),  # Cairo: the day begins at 01:00
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe: 02:00 becomes 02:30
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe: 02:00 becomes 01:30
    datetime(2026, 6, 15, tzinfo=UTC),
)
ZONES = ("UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kathmandu")


class Stored(NamedTuple):
    """An event as it is stored."""

    id: UUID
    at: datetime
    name: str
    person: str | None
    params: dict[str, Any]

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Where it comes in the order of events."""
        return self.at, self.id


class World:
    """A connection, and the sources of the events in it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sources: tuple[str, ...]) -> None:
        """Keep both."""
        self.connection = connection
        self.sources = sources

    def ask(self, question: Question, now: datetime = LATER, known: Known | None = None) -> Answer:
        """Ask the engine."""
        return answer(self.connection, self.sources, question, now, known)


@contextmanager
def world(directory: Path, *parts: list[Stored]) -> Iterator[World]:
    """Make a file of each part but the last one, which becomes the tail."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        for number, part in enumerate(parts[:-1]):
            _write(connection, directory / f"{number}.parquet", part)
        connection.execute(f"CREATE TABLE tail AS {_select()}", _lists(parts[-1]))
        files = ", ".join(f"'{directory}/{number}.parquet'" for number in range(len(parts) - 1))
        yield World(connection, (f"read_parquet([{files}])", "tail") if files else ("tail",))


def _write(connection: duckdb.DuckDBPyConnection, path: Path, events: list[Stored]) -> None:
    copy = f"COPY ({_select()} ORDER BY \"at\") TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
    connection.execute(copy, _lists(events))


def _select() -> str:
    return """SELECT unnest($1::UUID[]) AS id, unnest($2::TIMESTAMPTZ[]) AS "at",
        unnest($2::TIMESTAMPTZ[]) AS created_at, unnest($3::VARCHAR[]) AS name,
        unnest($4::VARCHAR[]) AS person, unnest($5::VARCHAR[])::JSON::VARIANT AS params"""


def _lists(events: list[Stored]) -> list[list[Any]]:
    return [
        [event.id for event in events],
        [event.at for event in events],
        [event.name for event in events],
        [event.person for event in events],
        [json.dumps(event.params) for event in events],
    ]


def texts() -> st.SearchStrategy[str]:
    """Texts that are hard on quoting, and any other that Postgres keeps."""
    odd = st.sampled_from(["", "'", '"', '"; DROP', "$1", "a.b", "ü", "%", "\\", "[0]", "Plan"])
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return odd | st.text(characters, max_size=3)


def scalars() -> st.SearchStrategy[Any]:
    """Values of all types, many of them with the same text."""
    near = st.sampled_from(
        ["5", 5, 5.0, "5.0", "05", True, "true", "", 0, -1.5, "12.5", " 7 ", 1e22]
    )
    numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | near | numbers | texts()


def params() -> st.SearchStrategy[dict[str, Any]]:
    """Parameters with odd keys, nested ones, and values that aren't scalars."""
    others = st.sampled_from([[], ["a", 1], {}, {"x": [1]}])
    inner = st.dictionaries(st.sampled_from(["x", "X", "a.b"]), scalars(), max_size=2)
    keys = st.sampled_from(["plan", "Plan", "a.b", 'q"', "", "it's"])
    flat = st.dictionaries(keys, scalars(), max_size=3)
    nested = st.fixed_dictionaries({}, optional={"deep": inner | scalars(), "list": others})
    return st.builds(lambda one, two: one | two, flat, nested)


def events(around: datetime) -> st.SearchStrategy[list[Stored]]:
    """A few events of few people, at times of which many are equal."""
    times = st.integers(-240, 240).map(lambda n: around + n * timedelta(minutes=15))
    person = st.none() | st.sampled_from(["a", "b", "ü'", "5", ""])
    event = st.tuples(times, st.sampled_from(["view", "buy", "it's"]), person, params())
    numbered = st.lists(st.tuples(st.integers(0, 2**128 - 1), event), max_size=25)
    unique = numbered.map(lambda rows: dict(rows).items())
    return unique.map(lambda rows: [Stored(UUID(int=number), *event) for number, event in rows])


def crowds(
    around: datetime, step: timedelta, steps: int
) -> st.SearchStrategy[tuple[list[Stored], list[Stored]]]:
    """Many events of three people at a few times: hypothesis alone makes hardly two that belong.

    The times are around a moment, so many steps before and after it. Some are for a file, the
    others for the tail.
    """

    def crowd(seed: int, archived: int, tail: int) -> tuple[list[Stored], list[Stored]]:
        chance = random.Random(seed)
        times = [around + step * chance.randint(-steps, steps) for _ in range(archived + tail)]
        stored = [_stored(chance, at) for at in times]
        return stored[:archived], stored[archived:]

    return st.builds(crowd, st.integers(0, 2**32), st.integers(0, 25), st.integers(0, 25))


def _stored(chance: random.Random, at: datetime) -> Stored:
    plan = chance.choice([None, "5", 5, 5.0, "05", True, "true", "x", 2.5, "12.5", -3])
    params: dict[str, Any] = chance.choice(
        [{}, {"plan": plan}, {"plan": plan, "deep": {"x": chance.randint(0, 3)}}]
    )
    name, person = (
        chance.choice(["view", "view", "buy", "it's"]),
        chance.choice(["a", "a", "b", "ü'", None]),
    )
    return Stored(UUID(int=chance.getrandbits(128)), at, name, person, params)
