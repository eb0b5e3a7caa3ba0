"""The judge of answers: what is counted twice, missing, gone, or of nobody is found."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.audit import asker
from bench.audit.findings import Findings
from bench.audit.questions import INVARIANT, Questions, digest
from tests.bench.audit.scenario import IDS

MS = 1_000_000
ASKED = 100 * MS
"""When the first question begins; each takes 10 ms, its snapshot is of its middle."""


def asked(number: int, events: int, distinct: int | None = None) -> str:
    """Return an answer with all events, the N-th in 100 ms."""
    begin = (1 + number) * ASKED
    counts = f"{events}\t{events if distinct is None else distinct}"
    return f"asked\t0\t{begin}\t{begin + 5 * MS}\t{begin + 10 * MS}\t{counts}"


def counted(number: int, events: int) -> str:
    """Return an answer that says how many there are."""
    begin = (1 + number) * ASKED
    return f"counted\t0\t{begin}\t{begin + 5 * MS}\t{begin + 10 * MS}\t{events}"


def changed(kind: str, *ids: str) -> str:
    """Return what the last answer had, or had not, unlike the one before."""
    return f"{kind}\t0\t{' '.join(f'{digest(each):x}' for each in ids)}"


def judged(
    directory: Path,
    lines: list[str],
    committed: Mapping[str, int | None],
    excused: range = range(0),
) -> list[str]:
    """Return what is found, where these are stored, each sent a millisecond before."""
    path = directory / "answers"
    path.write_text("".join(f"{line}\n" for line in lines))
    findings = Findings()
    questions = Questions(path, lambda begin, _: begin // ASKED - 1 in excused)
    questions.judge_counts(findings)
    for event_id, at in committed.items():
        questions.judge_stored(findings, 0, event_id, (at or 0) - MS, at)
    questions.judge_rest(findings)
    return findings.shown.get(INVARIANT, [])


def test_honest_answers_have_no_findings(tmp_path: Path) -> None:
    """One has it from its 200 on, or before: what came meanwhile may be there or not."""
    lines = [
        asked(0, 1), changed("seen", IDS[0]), asked(1, 3), changed("seen", IDS[1], IDS[2]),
        counted(1, 3), "failed\t0\t0\t0\tNotReady: later",
    ]  # fmt: skip
    committed = {IDS[0]: 50 * MS, IDS[1]: 106 * MS, IDS[2]: 204 * MS, IDS[3]: 900 * MS}
    assert not judged(tmp_path, lines, committed)
    assert not judged(tmp_path, lines, {**committed, IDS[2]: None})


def test_event_that_is_there_twice_is_found(tmp_path: Path) -> None:
    """By the answer alone."""
    lines = [asked(0, 2, 1), changed("seen", IDS[0])]
    (found,) = judged(tmp_path, lines, {IDS[0]: 50 * MS})
    assert "counted twice" in found


def test_acknowledged_event_that_is_missing_is_found(tmp_path: Path) -> None:
    """Also if a later answer has it."""
    lines = [asked(0, 1), changed("seen", IDS[0]), asked(1, 2), changed("seen", IDS[1])]
    (found,) = judged(tmp_path, lines, {IDS[0]: 50 * MS, IDS[1]: 60 * MS})
    assert IDS[1] in found
    assert "is not counted" in found
    assert not judged(tmp_path, lines, {IDS[0]: 50 * MS, IDS[1]: 104 * MS})


def test_event_that_goes_is_found(tmp_path: Path) -> None:
    """Whatever it was answered with; not if only answers that are excused don't have it."""
    lines = [
        asked(0, 1), changed("seen", IDS[0]), asked(1, 0), changed("gone", IDS[0]), asked(2, 0),
        asked(3, 1), changed("seen", IDS[0]),
    ]  # fmt: skip
    (found,) = judged(tmp_path, lines, {IDS[0]: None})
    assert "was there before" in found
    assert judged(tmp_path, lines, {IDS[0]: None}, excused=range(1, 2))
    assert not judged(tmp_path, lines, {IDS[0]: None}, excused=range(1, 3))


def test_event_that_is_never_stored_is_found(tmp_path: Path) -> None:
    """It was made up, or taken from what was rolled back."""
    (found,) = judged(tmp_path, [asked(0, 1), changed("seen", IDS[0])], {})
    assert "never stored" in found


@pytest.mark.parametrize(("events", "is_found"), [(0, True), (1, False), (2, False), (3, True)])
def test_count_is_of_what_was_committed_up_to_what_was_sent(
    tmp_path: Path, events: int, *, is_found: bool
) -> None:
    """One is acknowledged before, one meanwhile; the third is sent afterwards."""
    committed = {IDS[0]: 50 * MS, IDS[1]: 106 * MS, IDS[2]: 300 * MS}
    assert bool(judged(tmp_path, [counted(0, events)], committed)) is is_found


def test_digest_is_what_duckdb_makes() -> None:
    """Of an id as it is in the archive."""
    duckdb = pytest.importorskip("duckdb")
    select = f"SELECT {asker.DIGEST} FROM (SELECT '{IDS[7]}'::UUID AS id)"
    assert duckdb.sql(select).fetchall() == [(digest(IDS[7]),)]
