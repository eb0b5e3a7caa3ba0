"""Background tasks have one owner, who learns of each that fails and waits for none for ever."""

import asyncio

import pytest

from ingest.app import background
from ingest.app.background import Background


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_end_ends_all() -> None:
    """And that is no failure."""
    failures: list[str] = []
    owner, ended = Background(lambda: failures.append("")), []

    async def work() -> None:
        try:
            await _forever()
        finally:
            ended.append("")

    for name in ("a", "b"):
        owner.own(name, work())
    await asyncio.sleep(0)
    await owner.end()
    assert (len(ended), failures) == (2, [])


async def test_nothing_to_end_is_no_mistake() -> None:
    """A server may fail before its tasks begin."""
    await Background(lambda: None).end()


async def test_task_that_does_not_end_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log names it."""
    monkeypatch.setattr(background, "END_TIMEOUT_S", 0.05)
    owner, may_end = Background(lambda: None), asyncio.Event()

    async def stubborn() -> None:
        try:
            await _forever()
        except asyncio.CancelledError:
            await may_end.wait()

    owner.own("a good one", _forever())
    owner.own("a stubborn one", stubborn())
    await asyncio.sleep(0)
    await owner.end()
    told = "".join(capfd.readouterr())
    assert "a stubborn one" in told
    assert "a good one" not in told
    may_end.set()


async def test_task_that_ends_by_itself_is_a_failure() -> None:
    """Also where it raised nothing."""
    failures: list[str] = []
    owner = Background(lambda: failures.append(""))
    owner.own("returns", asyncio.sleep(0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(failures) == 1
    await owner.end()
