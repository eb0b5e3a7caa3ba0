"""The audit's failpoints: they act where they are armed, and the product knows nothing of them."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.audit import failpoints
from tests.support.server import ROOT


def test_failpoint_acts_at_its_passage_and_only_while_armed(tmp_path: Path) -> None:
    """Three errors in a row, from the N-th on."""
    file = tmp_path / "failpoints"
    file.write_text("before-copy:2=eio")
    points = failpoints.Failpoints(file)
    points.reload()
    points.passing("before-copy")
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error") as failed:
            points.passing("before-copy")
        assert failed.value.sqlite_errorcode == sqlite3.SQLITE_IOERR_WRITE
    points.passing("before-copy")
    file.write_text("")
    points.reload()
    points.passing("before-copy")


def test_failpoint_kills_its_own_process(tmp_path: Path) -> None:
    """With SIGKILL: nothing is tidied up."""
    file = tmp_path / "failpoints"
    file.write_text("mid-acks:1=kill")
    text = (
        "from pathlib import Path; from bench.audit.failpoints import Failpoints;"
        f"points = Failpoints(Path({str(file)!r})); points.reload(); points.passing('mid-acks')"
    )
    ended = subprocess.run([sys.executable, "-c", text], cwd=ROOT, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not file.read_text()
    assert failpoints.deaths(file).read_text().strip().isdecimal()


def test_product_knows_nothing_of_failpoints_and_bugs() -> None:
    """They are patched in from outside: no word of them is in the package."""
    for source in (ROOT / "ingest").rglob("*.py"):
        text = source.read_text(encoding="utf-8").lower()
        assert "failpoint" not in text
        assert "bench.audit" not in text


def test_every_step_is_there() -> None:
    """A renamed method must not silently take a failpoint away."""
    assert {step.name for step in failpoints.possible()} == {s.name for s in failpoints.STEPS}
