"""How busy cores are, whoever keeps them so."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_IDLE = (3, 4)
"""The columns of /proc/stat that are no work: idle, and waiting for a disk."""
_COLUMNS = 8
"""The rest, guests, is counted in the first ones."""


class Ticks(NamedTuple):
    """What a core has done so far."""

    busy: int
    all: int


def sample(cores: Iterable[int]) -> dict[int, Ticks]:
    """Return what these cores have done."""
    wanted = {f"cpu{core}": core for core in cores}
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    rows = (line.split() for line in lines)
    return {wanted[row[0]]: _ticks(row[1 : _COLUMNS + 1]) for row in rows if row[0] in wanted}


def busiest(before: dict[int, Ticks], after: dict[int, Ticks]) -> float:
    """Return which share of the time between the busiest core was busy, 0 to 1."""
    shares = [_share(before[core], after[core]) for core in before if core in after]
    return max(shares, default=0.0)


def _share(before: Ticks, after: Ticks) -> float:
    passed = after.all - before.all
    return (after.busy - before.busy) / passed if passed else 0.0


def _ticks(columns: list[str]) -> Ticks:
    counts = [int(each) for each in columns]
    return Ticks(sum(counts) - sum(counts[at] for at in _IDLE), sum(counts))
