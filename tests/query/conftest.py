"""What the tests of `nonito query` share: the command, and a server with three days of events."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

from tests.api.asked import Asked, asked_server
from tests.support.command import Nonito, run_here

HOSTILE = "\x1b[31m=cmd\u202e\n"
"""A name that repaints a terminal, reorders its line, and begins another one."""
FORMULA = "=1+2"
ODD_PERSONS = ("..", "a/b?c#d%2F e")
"""In an address they would be another one."""


class Shop(NamedTuple):
    """A server, and how its database and its archive are asked directly."""

    asked: Asked
    settings: Mapping[str, object]


def event(name: str, day: int, person: str, **params: object) -> dict[str, object]:
    """Return an event of a day in March."""
    return {
        "event_name": name,
        "event_params": {"user_id": person, **params},
        "timestamp": f"2026-03-0{day}T12:00:00Z",
    }


@pytest.fixture(scope="module")
def shop(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Three days of two people, and another app whose names are hostile."""
    path = tmp_path_factory.mktemp("archive")
    with asked_server(shared_database_url, path) as asked:
        asked.send(
            event("view", 1, "ann", plan="pro", amount=10),
            event("view", 1, "bob", plan="free", amount=1),
            event("purchase", 2, "ann", plan="pro", amount=30.5),
            event("view", 3, "ann", plan="a|b", amount=-5),
        )
        asked.send(
            event(HOSTILE, 1, FORMULA, plan=HOSTILE),
            event(FORMULA, 2, "-x", plan=FORMULA),
            *(event("odd", 3, person) for person in ODD_PERSONS),
            app="two",
        )
        yield Shop(asked, {"database.url": shared_database_url, "archive.path": path})


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command, in this process."""
    return run_here(monkeypatch, capfd)
