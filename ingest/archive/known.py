"""What is known of a view's events without a look at them: from the manifest, and of the tail."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from ingest.archive import manifest, rows, tail
from ingest.archive.horizon import Horizon
from ingest.archive.manifest import File, NameCount
from ingest.archive.rows import literal
from ingest.archive.workspace import Workspace

_TIMEOUT_S: Final = 30.0


class Known:
    """What the manifest says of a view's events."""

    def __init__(
        self,
        workspace: Workspace,
        directory: Path,
        files: Sequence[File],
        of_tail: Sequence[int],
        horizon: Horizon,
    ) -> None:
        """`of_tail` has the times of its first and its last event, if there are any, in us."""
        self._workspace = workspace
        self._directory = directory
        self._files = files
        self._of_tail = of_tail
        self._horizon = horizon

    @property
    def ends(self) -> tuple[datetime, datetime] | None:
        """The time of the first event, and the moment behind that of the last."""
        times = [
            *self._of_tail,
            *(us for file in self._files for us in (file.at_min_us, file.at_max_us)),
        ]
        return (rows.time_of(min(times)), rows.time_of(max(times) + 1)) if times else None

    @property
    def archived(self) -> int:
        """How many of its events lie in files, about: with those that count no more."""
        return sum(file.rows for file in self._files)

    def latest(self, limit: int, bytes_max: int) -> list[tuple[str, str]]:
        """Return name and parameters of the latest events of the tail, so many at most."""
        return tail.latest(self._workspace, limit, bytes_max)

    def names(self) -> tuple[list[NameCount], tuple[str, ...]]:
        """Return how often names are in files, and the sources in which they have to be counted.

        Read a moment after the view: what is in a file never changes, though it may be gone.
        """
        whole = [each for each in self._files if not self._horizon.cuts(each)]
        with self._workspace.transaction(_TIMEOUT_S, commits=False):
            found = manifest.read_names(self._workspace, whole)
        others = [each for each in self._files if each.name not in found]
        sources = (*sources_of(self._directory, others, self._horizon), tail.NAME)
        return [each for counts in found.values() for each in counts], sources


def sources_of(
    directory: Path, files: Sequence[File], horizon: Horizon, columns: str = "*"
) -> list[str]:
    """Return the sources of what counts in some files: of most there is nothing to leave out."""
    cut = [each for each in files if horizon.cuts(each)]
    whole = [each for each in files if not horizon.cuts(each)]
    sources = []
    if whole:
        of_whole = parquet(directory, whole)
        sources.append(of_whole if columns == "*" else f"(SELECT {columns} FROM {of_whole})")
    if cut:
        counts = " AND ".join(horizon.conditions)
        sources.append(f"(SELECT {columns} FROM {parquet(directory, cut)} WHERE {counts})")
    return sources


def parquet(directory: Path, files: Sequence[File]) -> str:
    """Return the source of some files."""
    listed = ", ".join(literal(str(directory / each.name)) for each in files)
    return f"read_parquet([{listed}])"
