"""The faults: what goes wrong with Postgres, with the network and with the disk, for a while.

They are the audit's, as far as the model has what they happen to; `Target` is all that they see.
"""

from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from bench.chance import happens
from bench.simulate.cluster import ANY, ONCE, WITH_ROWS, Cluster
from bench.simulate.disk import Disk
from bench.simulate.network import Network
from ingest.spool.owner import NAME as OWNER

_RULES: Final = ("check", "raise", "drop", "hang", "full", "lock")
_SLOW: Final = (3.0, 50.0)
_DISK_SLOW: Final = (5.0, 300.0)


class Target(NamedTuple):
    """What faults happen to."""

    cluster: Cluster
    network: Network
    disk: Disk


class Fault(NamedTuple):
    """One kind."""

    weight: int
    begin: Callable[[Target, Random, float], None]
    """With how long it lasts."""
    lift: Callable[[Target, Random], None]
    is_of_disk: bool = False
    """Whether it is the spool's disk that fails: then nothing may take an event."""
    sets_aside: bool = False
    """Whether Postgres refuses rows that are good."""
    is_rule: bool = False
    """Whether it is a rule of an operator's against guarded events."""


def _nothing(_: Target, __: Random) -> None:
    """Be over by itself."""


def _refuse(target: Target, random: Random, _: float) -> None:
    target.cluster.refusing = random.choice(("refused", "refused", "57P03", "53300"))
    if happens(random, 0.7):  # mostly who is connected loses that, too
        target.network.cut()


def _accept(target: Target, _: Random) -> None:
    target.cluster.refusing = ""


def _crash(target: Target, _: Random, __: float) -> None:
    target.cluster.crash()
    target.cluster.refusing = "57P03"


def _cut(target: Target, _: Random, __: float) -> None:
    target.network.cut()


def _lose_answers(target: Target, random: Random, _: float) -> None:
    target.network.answers_to_lose += random.randint(1, 3)


def _lose_no_answers(target: Target, _: Random) -> None:
    target.network.answers_to_lose = 0


def _be_silent(target: Target, _: Random, __: float) -> None:
    target.network.be_silent()


def _speak(target: Target, _: Random) -> None:
    target.network.speak()


def _pause(target: Target, _: Random, __: float) -> None:
    target.cluster.pause()


def _resume(target: Target, _: Random) -> None:
    target.cluster.resume()


def _slow(target: Target, random: Random, _: float) -> None:
    target.cluster.slow_factor = target.cluster.usual_factor * random.uniform(*_SLOW)


def _be_fast(target: Target, _: Random) -> None:
    target.cluster.slow_factor = target.cluster.usual_factor


def _terminate(target: Target, random: Random, _: float) -> None:
    sessions = [*target.cluster.sessions]
    for session in random.sample(sessions, min(len(sessions), random.randint(1, 3))):
        target.cluster.terminate(session)


def _fail_all(target: Target, random: Random, _: float) -> None:
    target.cluster.failing.add(random.choice(ANY))


def _fail_rows(target: Target, random: Random, _: float) -> None:
    target.cluster.failing.add(random.choice(WITH_ROWS))


def _fail_nothing(target: Target, _: Random) -> None:
    target.cluster.failing.clear()


def _fail_once(target: Target, random: Random, _: float) -> None:
    target.cluster.once += [random.choice(ONCE) for _ in range(random.randint(1, 3))]


def _fail_no_more(target: Target, _: Random) -> None:
    target.cluster.once.clear()


def _rule(target: Target, random: Random, _: float) -> None:
    target.cluster.rules.add(random.choice(_RULES))


def _no_rule(target: Target, _: Random) -> None:
    target.cluster.rules.clear()


def _replace(target: Target, _: Random, __: float) -> None:
    """Put another database there, if it is known by now which one is meant."""
    if target.disk.has(OWNER):
        target.cluster.replace()


def _restore(target: Target, _: Random) -> None:
    target.cluster.restore()


def _fill(target: Target, _: Random, __: float) -> None:
    target.disk.is_full = True


def _empty(target: Target, _: Random) -> None:
    target.disk.is_full = False


def _fail_disk(target: Target, _: Random, __: float) -> None:
    target.disk.is_failing = True


def _mend_disk(target: Target, _: Random) -> None:
    target.disk.is_failing = False


def _slow_disk(target: Target, random: Random, _: float) -> None:
    target.disk.slow_factor = target.disk.usual_factor * random.uniform(*_DISK_SLOW)


def _fast_disk(target: Target, _: Random) -> None:
    target.disk.slow_factor = target.disk.usual_factor


def _step_clock(target: Target, random: Random, _: float) -> None:
    """Set the wall clock, forward or back, by anything from a hair to an hour."""
    target.disk.world.wall_step_s += random.choice((-1, 1)) * 0.01 * 360_000 ** random.random()


def _hang_disk(target: Target, _: Random, lasts_s: float) -> None:
    """For as long as any time-out, at least sometimes."""
    target.disk.hangs_until_s = target.disk.world.now_s + lasts_s


FAULTS: Final[dict[str, Fault]] = {
    "link-refused": Fault(4, _refuse, _accept),
    "link-cut": Fault(3, _cut, _nothing),
    "commit-answer-lost": Fault(4, _lose_answers, _lose_no_answers),
    "link-silent": Fault(3, _be_silent, _speak),
    "postgres-paused": Fault(3, _pause, _resume),
    "postgres-slow": Fault(4, _slow, _be_fast),
    "postgres-crash": Fault(3, _crash, _accept),
    "sessions-terminated": Fault(2, _terminate, _nothing),
    "nothing-works": Fault(2, _fail_all, _fail_nothing),
    "rows-fail": Fault(2, _fail_rows, _fail_nothing, sets_aside=True),
    "statement-fails": Fault(3, _fail_once, _fail_no_more),
    "rule": Fault(5, _rule, _no_rule, is_rule=True),
    "another-database": Fault(2, _replace, _restore),
    "disk-full": Fault(2, _fill, _empty, is_of_disk=True),
    "disk-error": Fault(2, _fail_disk, _mend_disk, is_of_disk=True),
    "disk-slow": Fault(4, _slow_disk, _fast_disk, is_of_disk=True),
    "clock-set": Fault(2, _step_clock, _nothing),
    "disk-hangs": Fault(3, _hang_disk, _nothing, is_of_disk=True),
}
