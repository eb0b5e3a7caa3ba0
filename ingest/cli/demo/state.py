"""What a demo knows from one start to the next: how it was made, and up to when it is filled."""

from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from ingest.demo.scale import Scale
from ingest.demo.traffic import DAY_MS, Span
from ingest.errors import StartupError

FILE: Final = "demo.json"


class Filling(msgspec.Struct, frozen=True):
    """A filling that was begun, and is to be ended as it was begun."""

    begin_ms: int
    end_ms: int
    known: int
    """Visitors that there had been before."""


class State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One demo's."""

    seed: int
    events: int
    """About so many it begins with."""
    days: int
    """And they are of so many days."""
    zone: str
    opened_ms: int
    """When the first of them was."""
    until_ms: int
    """Up to when there are any."""
    known: int = 0
    """How many visitors there have been; 0 before the first."""
    filling: Filling | None = None
    write_key: str = ""
    read_key: str = ""

    def scale(self) -> Scale:
        """Return how much happens in it."""
        release_ms = self.opened_ms + self.days * DAY_MS // 2
        return Scale(self.seed, self.events / self.days, release_ms, ZoneInfo(self.zone))

    def begin_filling(self, now_ms: int) -> Span:
        """Return what is to be filled first: what was broken off, or else what is missing.

        A demo that was left alone for longer than it has days is filled for those alone.
        """
        if self.filling is None:
            begin_ms = max(self.until_ms, now_ms - self.days * DAY_MS)
            self.filling = Filling(begin_ms, max(begin_ms, now_ms), self.known)
        return Span(self.filling.begin_ms, self.filling.end_ms)

    def end_filling(self, known: int) -> None:
        """Note that what was begun is there."""
        assert self.filling is not None  # noqa: S101 - for the type checker
        self.until_ms, self.known, self.filling = self.filling.end_ms, known, None


def read(directory: Path) -> State | None:
    """Return what the demo in a directory knows, None if there is none; raise StartupError."""
    path = directory / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StartupError(f"{path} can't be read: {error}; --anew makes another demo") from error


def write(directory: Path, state: State) -> None:
    """Keep what the demo knows, its keys too, for its owner's eyes only; raise StartupError."""
    new = directory / f"{FILE}.new"
    try:
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
        new.replace(directory / FILE)
    except OSError as error:
        raise StartupError(f"{new} can't be written: {error.strerror}") from error
