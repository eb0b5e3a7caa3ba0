"""What a figure is held to, and whether it has passed or missed."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from rich.table import Table

from bench import console


class Bound(NamedTuple):
    """How small or how large a figure may be."""

    sense: Literal["at least", "at most"]
    value: float

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g}"

    def admits(self, measured: float | None) -> bool:
        """Return whether a figure is within the bound, which itself is; False for none."""
        if measured is None:
            return False
        return measured >= self.value if self.sense == "at least" else measured <= self.value


class Target(NamedTuple):
    """Something that is to be reached, and what came of it."""

    name: str
    measured: str
    is_reached: bool
    wanted: str = ""
    """What would have been enough, where the name does not say it."""


def shown(*, is_reached: bool) -> str:
    """Return the word for a target that is reached, or is not, in its colour."""
    return "[green]passed" if is_reached else "[red]missed"


def table(heads: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]]) -> Table:
    """Return a table of targets: cells below these heads, and behind them whether it is reached."""
    made = console.table("Targets", (*heads, ""))
    for cells, is_reached in rows:
        made.add_row(*cells, shown(is_reached=is_reached))
    return made
