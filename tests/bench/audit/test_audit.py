"""The audit as a whole: an honest server keeps every promise, each seeded bug breaks one."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from bench.audit import runner, spool_faults
from bench.audit.bugs import BUGS
from bench.audit.plan import AuditPlan, AuditResult
from bench.audit.report import as_json
from tests.support.postgres import passable_directory

pytestmark = [pytest.mark.audit, pytest.mark.timeout(400)]

EVENTS = 3_000
SECONDS = 40.0
HONEST_SECONDS = 150.0
_LONGEST_FIRST = sorted(
    (name for name, bug in BUGS.items() if not bug.is_archives),
    key=lambda name: -BUGS[name].workers,
)
"""Those of two workers wait for time-outs: begun last, they would be waited for alone."""
_NEVER_DRAINS = {"spool-drains", "always-answered"}
"""Whoever breaks one of these may keep the server from ever saying that nothing waits."""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place of the test's own for a cluster, a spool and a history."""
    # Not in pytest's own directory, where the account that runs Postgres may not pass.
    with passable_directory() as made:
        yield made


def audit(  # noqa: PLR0913 - what a run may differ in
    directory: Path,
    faults: int,
    only: tuple[str, ...],
    bug: str = "",
    seed: int = 4,
    workers: int = 1,
    *,
    servers: int = 1,
    has_archive: bool = False,
) -> AuditResult:
    """Run a short audit; its history lies in the directory."""
    plan = AuditPlan(
        seed=seed,
        faults=faults,
        events=EVENTS,
        seconds=SECONDS if bug else HONEST_SECONDS,
        connections=16,
        only=only,
        bug=bug,
        workers=workers,
        # What is stored is compared once the spool is empty, which takes a busy machine a while.
        drain_timeout_s=5.0 if bug and _NEVER_DRAINS & set(BUGS[bug].breaks) else 60.0,
        has_archive=has_archive,
        servers=servers,
    )
    return uvloop.run(runner.run(plan, directory, lambda _: None))


def test_honest_server_keeps_every_promise(directory: Path) -> None:
    """The first faults of a run with all kinds."""
    handler = signal.getsignal(signal.SIGINT)  # ignored where this runs in the background
    result = audit(directory, faults=25, only=())
    broken = [verdict for verdict in result.verdicts if not verdict.is_kept]
    assert not broken
    assert result.faults.total() >= 25
    assert result.counts.acked_200 + result.counts.acked_202 >= EVENTS
    found = as_json(result)
    assert found["is_good"]
    assert (found["lost"], found["doubled"], found["phantom"]) == (0, 0, 0)
    assert signal.getsignal(signal.SIGINT) is handler


def test_server_of_two_workers_keeps_every_promise(directory: Path) -> None:
    """Whichever of its processes are killed, stopped or replaced."""
    names = ("worker-killed", "supervisor-killed", "hangup", "hangup-and-kill", "workers-changed")
    result = audit(directory, faults=7, only=names, seed=33, workers=2)
    assert not [verdict for verdict in result.verdicts if not verdict.is_kept]
    assert set(result.faults) == set(names)
    assert result.counts.acked_200 + result.counts.acked_202 >= EVENTS


def test_two_servers_keep_every_promise(directory: Path) -> None:
    """Whichever is killed, stopped, or cut off from Postgres, and wherever clients send again."""
    names = ("server-kill", "outage-kill", "link-refused", "link-held", "commit-answer-lost")
    result = audit(directory, faults=8, only=names, seed=12, servers=2)
    assert not [verdict for verdict in result.verdicts if not verdict.is_kept]
    assert result.faults.total() >= 8
    assert result.counts.told


def test_spoilt_spool_loses_nothing_in_silence(directory: Path) -> None:
    """Bits turn, and ends of files are gone, each time that the server is killed."""
    names = ("spool-damage", *(fault.name for fault in spool_faults.FAULTS))
    result = audit(directory, faults=15, only=names)
    assert not [verdict for verdict in result.verdicts if not verdict.is_kept]
    assert set(result.faults) == set(names)


def test_good_events_go_on_while_a_rule_refuses_others(directory: Path) -> None:
    """Looked at while it lasts; what the rule refused is in the table in the end."""
    result = audit(directory, faults=1, only=("trigger-drops-long",))
    assert not [verdict for verdict in result.verdicts if not verdict.is_kept]
    assert result.counts.retried
    assert "good events, 0 are not stored" in (directory / "history").read_text()


@pytest.mark.parametrize("name", _LONGEST_FIRST)
def test_seeded_bug_is_caught(directory: Path, name: str) -> None:
    """By an invariant that it breaks, in one of five short runs: some need luck with the time."""
    assert was_caught(directory, name)


def was_caught(directory: Path, name: str) -> bool:
    """Whether a run breaks an invariant that the bug is to break."""
    bug = BUGS[name]
    for seed in range(4, 9):
        place = directory / str(seed)
        place.mkdir()
        times = bug.times if bug.faults else 0
        result = audit(
            place,
            times,
            bug.faults,
            name,
            seed,
            bug.workers,
            servers=bug.servers,
            has_archive=bug.is_archives,
        )
        if {each.invariant for each in result.verdicts if each.found} & set(bug.breaks):
            return not result.is_good
    return False
