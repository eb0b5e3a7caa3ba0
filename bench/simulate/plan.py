"""A plan: everything that clients, operators and fate do, and when. A seed expands to one.

It is a list, so a plan that fails can be cut down: each action stands by itself, and draws its
details from a seed of its own.
"""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Final, NamedTuple

from bench.chance import happens, log_uniform
from bench.simulate.faults import FAULTS

POST: Final = "post"
BATCH: Final = "batch"
BURST: Final = "burst"
AGAIN: Final = "again"
OTHER: Final = "other"
KILL: Final = "kill"
RESTART: Final = "restart"
SPOIL: Final = "spoil"
"""Kill it, and spoil what it has left on the disk."""

_SCENES_MAX: Final = 3
_SCENE_S: Final = (1.0, 8.0)
_PAUSE_S: Final = (3.0, 300.0)
"""Between two scenes; mostly one of the shorter ones."""
_FAULT_S: Final = (0.02, 10.0)
_LONG_FAULT_S: Final = (10.0, 180.0)
"""Beyond every time-out and every back-off."""
_LONG: Final = 0.08
"""The chance that a fault is a long one."""
_FAULTS_MAX: Final = 5
_SENDS: Final = (2, 22)
"""So often clients send something: rather seldom, as more short plans find more than a few long."""
_AGAIN_S: Final = (0.001, 20.0)
_SWAMPED: Final = 0.15
"""The chance that both Postgres and the disk are too slow for what comes."""
_SETTLES_S: Final = 3.0
"""So long after anything happened nothing is taken for quiet, and before anything happens again."""
_KIB: Final = 1024


class Settings(NamedTuple):
    """What the server is configured with, and what kind of machine it is on."""

    writers: int
    queue_events_max: int
    queue_bytes_max: int
    batch_events_max: int
    batch_bytes_max: int
    commit_timeout_s: float
    connect_timeout_s: float
    has_spool: bool
    spool_bytes_max: int
    spool_timeout_s: float
    may_pair: bool
    is_pooled: bool
    are_timers_first: bool
    postgres_factor: float
    """How slow Postgres is, beside one on the same machine."""
    disk_factor: float
    """How slow the spool's disk is, beside a fast one."""
    loses_power: bool
    """Whether the machine dies with a process that is killed."""


class Action(NamedTuple):
    """Something that is done to the server, or to what it depends on."""

    at_s: float
    kind: str
    """One of the kinds of clients' above, KILL, RESTART, SPOIL, or a fault's name."""
    seed: int
    """Of its details."""
    lasts_s: float = 0.0
    """Of a fault."""
    of: int = -1
    """Of which action it sends something again, by its number."""
    number: int = 0
    """Stays with it when others are taken out of the plan."""

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.3f} s" if self.lasts_s else ""
        of = f" of {self.of}" if self.of >= 0 else ""
        return f"{self.at_s:9.3f}  {self.number:3}  {self.kind}{of}{lasts} ({self.seed})"


class Plan(NamedTuple):
    """All of it."""

    seed: int
    settings: Settings
    actions: tuple[Action, ...]
    """In the order of time."""


def draw(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(f"plan {seed}")  # noqa: S311 - repeatable, not secret
    settings = _draw_settings(random)
    times = _Times(random)
    drawn = [*_traffic(random, times), *_trouble(random, times)]
    ordered = sorted(drawn, key=lambda action: action.at_s)
    numbered = [each._replace(number=number) for number, each in enumerate(ordered)]
    return Plan(seed, settings, tuple(_with_repeats(random, numbered, times)))


def quiet_times(actions: Iterable[Action]) -> Iterator[tuple[float, float]]:
    """Yield from when to when nothing is done and no fault goes on."""
    busy_until_s = 0.0
    for action in actions:
        if action.at_s - busy_until_s > 2 * _SETTLES_S:
            yield busy_until_s + _SETTLES_S, action.at_s - _SETTLES_S
        busy_until_s = max(busy_until_s, action.at_s + action.lasts_s)


def _draw_settings(random: Random) -> Settings:
    is_small = happens(random, 0.5)  # half of them meet their limits
    return Settings(
        writers=random.choice((1, 2, 2, 3)),
        queue_events_max=random.randint(16, 40) if is_small else 1_000,
        queue_bytes_max=random.choice((64, 128)) * _KIB if is_small else 1_024 * _KIB,
        batch_events_max=random.choice((2, 10, 50, 100)),
        batch_bytes_max=random.choice((2, 4, 64)) * _KIB,
        commit_timeout_s=random.choice((1.0, 2.0, 5.0)),
        connect_timeout_s=random.choice((0.5, 2.0)),
        has_spool=happens(random, 0.95),
        spool_bytes_max=random.choice((700, 1_500, 8_000)) * _KIB,
        spool_timeout_s=random.choice((3.0, 5.0)),
        may_pair=happens(random, 0.8),
        is_pooled=happens(random, 0.15),
        are_timers_first=happens(random, 0.5),
        postgres_factor=float(0.5 * (60 ** random.random())),
        disk_factor=float(0.5 * (40 ** random.random())),
        loses_power=happens(random, 0.3),
    )


class _Times:
    """When things happen: in a few scenes, with pauses between them."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.end_s = 0.0
        self._scenes: list[tuple[float, float]] = []
        for _ in range(random.randint(1, _SCENES_MAX)):
            if self._scenes:
                self.end_s += log_uniform(random, *_PAUSE_S)
            begin_s, self.end_s = self.end_s, self.end_s + random.uniform(*_SCENE_S)
            self._scenes.append((begin_s, self.end_s))
        self._crowded_s = [self._anywhere() for _ in range(random.randint(1, 4))]

    def moment(self) -> float:
        """Return when something is: half of it close to other things, as trouble comes together."""
        random = self._random
        if happens(random, 0.5):
            return self._anywhere()
        return min(self.end_s, max(0.0, random.choice(self._crowded_s) + random.gauss(0.0, 0.15)))

    def _anywhere(self) -> float:
        return self._random.uniform(*self._random.choice(self._scenes))


def _traffic(random: Random, times: _Times) -> Iterator[Action]:
    """Yield what clients send."""
    count = round(log_uniform(random, *_SENDS))
    kinds = random.choices((POST, BATCH, BURST), (6, 3, 2), k=count)
    for kind in kinds:
        yield Action(times.moment(), kind, random.getrandbits(32))


def _trouble(random: Random, times: _Times) -> Iterator[Action]:
    """Yield what goes wrong."""
    names = [*FAULTS]
    weights = [FAULTS[name].weight for name in names]
    for name in random.choices(names, weights, k=random.randint(0, _FAULTS_MAX)):
        fault_s = log_uniform(random, *(_LONG_FAULT_S if happens(random, _LONG) else _FAULT_S))
        yield Action(times.moment(), name, random.getrandbits(32), fault_s)
    for _ in range(random.choice((0, 0, 0, 1, 1, 2, 3))):
        yield Action(times.moment(), KILL, random.getrandbits(32))
    if happens(random, 0.12):
        yield from _spoiling(random, times.moment())
    if happens(random, _SWAMPED):
        at_s = times.end_s if happens(random, 0.5) else times.moment()
        yield from _swamping(random, at_s)
    if happens(random, 0.3):
        yield Action(times.moment(), RESTART, random.getrandbits(32))


def _spoiling(random: Random, at_s: float) -> Iterator[Action]:
    """Yield an outage in which the spool's disk is spoilt."""
    yield Action(at_s, "link-refused", random.getrandbits(32), random.uniform(0.5, 3.0))
    for _ in range(random.randint(1, 4)):
        kind = random.choice((BATCH, BURST))
        yield Action(at_s + random.uniform(0.05, 0.4), kind, random.getrandbits(32))
    yield Action(at_s + random.uniform(0.2, 0.5), SPOIL, random.getrandbits(32))


def _swamping(random: Random, at_s: float) -> Iterator[Action]:
    """Yield more than a slow Postgres and a slow disk take together, and a few events behind it."""
    lasts_s = random.uniform(0.3, 4.0)
    yield Action(at_s, "postgres-slow", random.getrandbits(32), lasts_s)
    yield Action(at_s, "disk-slow", random.getrandbits(32), lasts_s * random.uniform(0.5, 2.0))
    for _ in range(random.randint(3, 5)):
        yield Action(at_s + random.uniform(0.0, lasts_s / 2), BURST, random.getrandbits(32))
    for _ in range(random.randint(1, 4)):
        yield Action(at_s + random.uniform(0.0, lasts_s * 1.5), POST, random.getrandbits(32))


def _with_repeats(random: Random, actions: list[Action], times: _Times) -> list[Action]:
    """Return the actions, and others that send the events of some again."""
    more: list[Action] = []
    first = [each for each in actions if each.kind in (POST, BATCH, BURST)]
    for each in first:
        while happens(random, 0.4):
            at_s = min(times.end_s + 5, each.at_s + log_uniform(random, *_AGAIN_S))
            kind = AGAIN if happens(random, 0.75) else OTHER
            seed, number = random.getrandbits(32), len(actions) + len(more)
            more.append(Action(at_s, kind, seed, of=each.number, number=number))
    return sorted([*actions, *more], key=lambda action: action.at_s)
