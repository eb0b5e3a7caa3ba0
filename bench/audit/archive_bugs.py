"""Seeded bugs of the archive: of who keeps it, and of who asks it."""

import threading
import time
from typing import TYPE_CHECKING, Final

from bench.audit.patch import replace
from ingest.archive import manifest, merging, passes, state, window
from ingest.archive.directory import Directory, Unfinished, sha256
from ingest.archive.manifest import File
from ingest.archive.passes import Passed
from ingest.archive.state import State
from ingest.archive.window import Window
from ingest.archive.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

_LATE_S: Final = 1.0


def file_after_mark() -> None:
    """Give a file its name a second behind the commit that names it."""

    def finish(self: Unfinished) -> tuple[int, str]:
        late = threading.Timer(_LATE_S, self.unfinished.rename, (self._path,))
        late.start()
        return self.unfinished.stat().st_size, sha256(self.unfinished)

    replace(Unfinished, "finish", finish)


def mark_alone() -> None:
    """Move the mark in a transaction of its own, and write the files a moment later."""
    original = passes._take  # noqa: SLF001

    def take(workspace: Workspace, directory: Directory, found: State, chosen: Window) -> Passed:
        state.advance(workspace, found, chosen.after)
        workspace.execute("COMMIT")
        time.sleep(_LATE_S)
        workspace.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ WRITE")
        passed = original(workspace, directory, chosen.after, chosen)
        return passed._replace(is_last=True)

    replace(passes, "_take", take)


def row_at_mark_missed() -> None:
    """Begin a pass behind the mark, where the one before has ended in front of it."""
    _choose_with("xact >= ", "xact > ")


def row_at_mark_twice() -> None:
    """End a pass behind the mark where the next one begins at it."""
    _choose_with("xact < ", "xact <= ")


def _choose_with(honest: str, wrong: str) -> None:
    original = window.choose

    def choose(workspace: Workspace, found: State, rows_max: int) -> Window | None:
        chosen = original(workspace, found, rows_max)
        if chosen is None:
            return None
        return chosen._replace(condition=chosen.condition.replace(honest, wrong))

    replace(window, "choose", choose)


def tail_without_bound() -> None:
    """Have the tail be all events."""
    replace(State, "tail", property(lambda _: ["true"]))


def tail_behind_mark() -> None:
    """Begin the tail behind the mark."""
    replace(State, "tail", property(lambda self: [f"xact > {self.mark}", "xact IS NULL"]))


def late_rows_ignored() -> None:
    """Take for settled what has a number, whether or not its transaction has ended."""
    honest = state._READ  # noqa: SLF001
    replace(state, "_READ", honest.replace("txid_snapshot_xmin", "txid_snapshot_xmax"))


def parts_deleted_early() -> None:
    """Delete what was merged before the merge is named."""
    original = manifest.unname
    touched: list[Path] = []

    def touch(self: Directory, name: str) -> None:
        touched.append(self.path_of(name))

    def unname(workspace: Workspace, names: list[str]) -> None:
        while touched:
            touched.pop().unlink()
        time.sleep(_LATE_S)
        original(workspace, names)

    replace(Directory, "touch", touch)
    replace(manifest, "unname", unname)


def parts_count_on() -> None:
    """Name a merge, and have what it was made of count as well."""
    original = merging.choose

    def choose(files: list[File]) -> list[File]:
        chosen = original(files)
        is_known = any(each.name.startswith("merged-") for each in files)
        return [] if is_known else chosen

    replace(merging, "choose", choose)
    replace(manifest, "unname", lambda *_: None)
