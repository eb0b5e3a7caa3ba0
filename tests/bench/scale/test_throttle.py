"""The throttle: each process gets its share of a core and no more, and is let go in the end."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.errors import BenchError
from bench.machine import cpu_clock_s
from bench.scale import duty, groups, throttle
from bench.scale.share import Share

SHARE = Share(0.1, 0.002)
BUSY = (sys.executable, "-c", "print(flush=True)\nwhile True: pass")
MEASURED_S = 1.0


@pytest.fixture
def busy() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that use all that they get."""
    started = [subprocess.Popen(BUSY, stdout=subprocess.PIPE) for _ in range(2)]
    for each in started:
        assert each.stdout is not None
        each.stdout.readline()
    yield started
    for each in started:
        each.kill()
        each.communicate()


@pytest.mark.parametrize("way", [throttle.GROUPS, throttle.SIGNALS])
def test_busy_process_gets_its_share_and_then_all_again(
    busy: list[subprocess.Popen[bytes]], way: str
) -> None:
    """By either way, each process for itself; afterwards it runs where and as it did before."""
    if way == throttle.GROUPS and groups.find() is None:
        pytest.skip("the CPU controller can't be set here")
    pids = [each.pid for each in busy]
    homes = [groups_of(pid) for pid in pids]
    with throttle.choose(way).held(pids, SHARE):
        before, began_s = [cpu_clock_s(pid) for pid in pids], time.monotonic()
        time.sleep(MEASURED_S)
        used = [cpu_clock_s(pid) - so_far for pid, so_far in zip(pids, before, strict=True)]
        passed_s = time.monotonic() - began_s
        if way == throttle.GROUPS and not all("nonito-bench" in groups_of(pid) for pid in pids):
            pytest.skip("something else on this machine moves processes between control groups")
    # A busy machine gives less than that; only too much is a fault, but for a slice or two.
    assert all(0 < each < 2 * SHARE.of_core * passed_s for each in used), used
    assert [groups_of(pid) for pid in pids] == homes
    assert all(psutil.Process(pid).status() != psutil.STATUS_STOPPED for pid in pids)


def test_process_that_has_ended_does_not_disturb_the_others(
    busy: list[subprocess.Popen[bytes]],
) -> None:
    """Neither while it is throttled nor when it is let go."""
    first, second = busy
    with throttle.choose(throttle.SIGNALS).held([first.pid, second.pid], SHARE):
        first.kill()
        first.wait()
        before = cpu_clock_s(second.pid)
        while cpu_clock_s(second.pid) < before + 2 * SHARE.slice_s:
            time.sleep(0.01)
    assert psutil.Process(second.pid).status() != psutil.STATUS_STOPPED


@pytest.mark.parametrize("way", [throttle.AUTO, throttle.SIGNALS])
def test_process_that_is_gone_is_said(busy: list[subprocess.Popen[bytes]], way: str) -> None:
    """A worker that died before it could be throttled, and the others go on freely."""
    first, second = busy
    home = groups_of(first.pid)
    second.kill()
    second.wait()
    with (
        pytest.raises(BenchError, match="can't be throttled"),
        throttle.choose(way).held([first.pid, second.pid], SHARE),
    ):
        pass
    assert groups_of(first.pid) == home
    assert psutil.Process(first.pid).status() != psutil.STATUS_STOPPED


def test_way_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than another one taken in silence; by itself it takes signals then, and says so."""
    monkeypatch.setattr(groups, "find", lambda: None)
    with pytest.raises(BenchError, match="be root"):
        throttle.choose(throttle.GROUPS)
    assert throttle.choose(throttle.AUTO).name == duty.NAME


def test_places_are_found_where_the_controller_is_on(tmp_path: Path) -> None:
    """Of version 2 those upwards whose children may be limited; of version 1 the own one."""
    two, one = tmp_path / "two", tmp_path / "one"
    inner = two / "outer" / "inner"
    inner.mkdir(parents=True)
    for group, controllers in ((inner, "memory"), (inner.parent, "cpu memory"), (two, "cpu")):
        (group / "cgroup.subtree_control").write_text(f"{controllers}\n")
    mounts, own = tmp_path / "mounts", tmp_path / "own"
    mounts.write_text(
        f"none /tmp tmpfs rw 0 0\ncgroup2 {two} cgroup2 rw 0 0\n"
        f"cgroup {one} cgroup rw,cpu,cpuacct 0 0\ncgroup {tmp_path} cgroup rw,memory 0 0\n"
    )
    own.write_text("4:cpu,cpuacct:/mine\n3:memory:/other\n0::/outer/inner\n")
    assert [*groups.places(mounts, own)] == [
        groups.Place(inner.parent, inner, is_v2=True),
        groups.Place(two, inner, is_v2=True),
        groups.Place(one / "mine", one / "mine", is_v2=False),
    ]


def test_share_is_written_in_the_words_of_each_version(tmp_path: Path) -> None:
    """In microseconds: for 5 % in slices of 1 ms one of them in every 20."""
    groups.Place(tmp_path, tmp_path, is_v2=True).limit(tmp_path, Share(0.05, 0.001))
    assert (tmp_path / "cpu.max").read_text() == "1000 20000"
    groups.Place(tmp_path, tmp_path, is_v2=False).limit(tmp_path, Share(0.05, 0.001))
    assert (tmp_path / "cpu.cfs_period_us").read_text() == "20000"
    assert (tmp_path / "cpu.cfs_quota_us").read_text() == "1000"


def groups_of(pid: int) -> str:
    """Return the control groups that a process is in."""
    return Path(f"/proc/{pid}/cgroup").read_text()
