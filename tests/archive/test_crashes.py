"""An archiver that is killed at any step: nothing is lost, and nothing counts twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.archive.archiving import archive, assert_exact, make_archiver, store
from tests.support.server import ROOT

pytestmark = pytest.mark.slow

TIMEOUT_S = 60.0
STEPS = {
    "a file is written": "writing.Unfinished_finish:before",
    "a file has its name": "writing.Unfinished_finish:after",
    "the files are named, not committed": "manifest_name:after",
    "the mark is moved, not committed": "state_advance:after",
    "all is committed": "passes_archive:after",
    "merged files are named, not committed": "manifest_unname:after",
    "a merge is committed": "merging_merge:after",
    "what is nobody's is deleted": "Directory_sweep:after",
}
DYING = """
import os, signal, sys
from ingest.archive import archiver, directory, manifest, merging, passes, state

PLACES = {
    "writing.Unfinished_finish": (directory.Unfinished, "finish"),
    "manifest_name": (manifest, "name"),
    "state_advance": (state, "advance"),
    "passes_archive": (passes, "archive"),
    "manifest_unname": (manifest, "unname"),
    "merging_merge": (merging, "merge"),
    "Directory_sweep": (directory.Directory, "sweep"),
}
url, path, step = sys.argv[1:]
place, _, when = step.partition(":")
owner, name = PLACES[place]
work = getattr(owner, name)

def dying(*arguments, **named):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    work(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, dying)
from tests.archive.archiving import archive
from pathlib import Path
archive(url, Path(path))
"""


def die_at(step: str, url: str, path: Path) -> None:
    """Archive in a process that is killed at a step."""
    ended = subprocess.run(
        [sys.executable, "-c", DYING, url, str(path), step],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_archiver_that_is_killed_neither_loses_nor_doubles_an_event(
    step: str, url: str, path: Path
) -> None:
    """Right behind the crash, and when the next one has gone on."""
    archiver = make_archiver(url, path)
    for n in range(7):
        store(url, [{"n": n}] * 2)
        archiver.round()
    store(url, [{"n": 7}] * 2)
    die_at(step, url, path)
    store(url, [{"n": 8}])
    assert_exact(url, path)
    archive(url, path)
    assert_exact(url, path)


def test_mark_is_committed_behind_the_files_and_their_directory(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is named is on the disk."""
    steps: list[str] = []

    def noting(place: str, name: str) -> None:
        owner_name, _, attribute = place.rpartition(".")
        owner = __import__(owner_name, fromlist=[attribute])
        work = getattr(owner, attribute)

        def noted(*arguments: object, **named: object) -> object:
            steps.append(name)
            return work(*arguments, **named)

        monkeypatch.setattr(owner, attribute, noted)

    archive(url, path)
    noting("ingest.archive.directory._sync", "file")
    noting("ingest.archive.directory.sync_directory", "directory")
    noting("ingest.archive.manifest.name", "name")
    noting("ingest.archive.state.advance", "mark")
    store(url, [{}])
    archive(url, path)
    assert steps == ["file", "directory", "name", "mark"]
