"""What all commands do alike with what they found: progress, tables, JSON, and the word VOID."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import rich.console
from rich.box import SIMPLE
from rich.progress import Progress, ProgressColumn
from rich.table import Table

VOID_EXIT_CODE: Final = 3
"""Of a run that does not count."""
_WIDTH: Final = 140

Console = rich.console.Console
Update = Callable[..., None]
"""Changes a bar: `advance=1`, `completed=0.5`, `description="…"`, or a field of its columns."""

json_option: Final = click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write figures here."
)


def make() -> Console:
    """Return a console that is wide enough for the tables also when it is a file."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


@contextmanager
def progress(
    console: Console, description: str, total: float, *, stays: bool = False
) -> Iterator[Update]:
    """Show a bar, which vanishes at the end unless it stays; yield what changes it."""
    with Progress(console=console, transient=not stays) as shown:
        yield partial(shown.update, shown.add_task(description, total=total))


@contextmanager
def progress_of(
    console: Console,
    columns: Sequence[ProgressColumn],
    description: str,
    total: float,
    fields: Mapping[str, Any],
) -> Iterator[Update]:
    """Show a bar with columns of its own, whose fields start as given; yield what changes it."""
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as shown:
        yield partial(shown.update, shown.add_task(description, total=total, **fields))


def table(
    title: str | None, left: Sequence[str], right: Sequence[str] = (), last: Sequence[str] = ()
) -> Table:
    """Return a table with lines and these columns: texts, figures, and texts behind them."""
    made = Table(title=title, box=SIMPLE)
    _add_columns(made, left, right, last)
    return made


def bare_table(left: Sequence[str], right: Sequence[str]) -> Table:
    """Return a table without lines and with these columns: texts, then figures."""
    made = Table(box=None, pad_edge=False)
    _add_columns(made, left, right)
    return made


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table without heads and lines: what something is, and how much of it there is."""
    made = Table(show_header=False, box=None, pad_edge=False)
    for row in rows:
        made.add_row(*row)
    return made


def statuses(counts: Mapping[int, int]) -> str:
    """Return how many answers there were of each status, as text."""
    return "  ".join(f"{status}: {count:,}" for status, count in sorted(counts.items())) or "none"


def show_void(console: Console, reasons: Iterable[str]) -> None:
    """Print why a run does not count, a line for each reason."""
    for reason in reasons:
        console.print(f"[bold red]VOID[/bold red] {reason}")


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    """Write everything that was found to a file, indented; raise OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def _add_columns(
    made: Table, left: Sequence[str], right: Sequence[str], last: Sequence[str] = ()
) -> None:
    for name in left:
        made.add_column(name)
    for name in right:
        made.add_column(name, justify="right")
    for name in last:
        made.add_column(name)
