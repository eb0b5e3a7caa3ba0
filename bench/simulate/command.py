"""The command `simulate`: seeds, each a schedule of clients and faults in virtual time."""

import sys
from pathlib import Path
from typing import Final

import click

from bench import console
from bench.console import Console, Update
from bench.simulate import bugs, plan, report, runner, simulation
from bench.simulate.runner import Found

_BROKEN_EXIT_CODE: Final = 1
_LINE_S: Final = 60.0


@click.command()
@click.option("--seeds", default=1_000, type=click.IntRange(1), help="How many.")
@click.option("--from", "first", default=1, type=int, help="The first of them.")
@click.option("--seed", type=int, help="Run this one alone, and print all that happens.")
@click.option("--processes", default=2, type=click.IntRange(1, 256), help="That share the work.")
@click.option("--seconds", default=0.0, type=click.FloatRange(0), help="At most; 0: no limit.")
@click.option("--bug", default="", help="Plant this seeded bug first.")
@console.json_option
def simulate(  # noqa: PLR0913 - one for each option
    *,
    seeds: int,
    first: int,
    seed: int | None,
    processes: int,
    seconds: float,
    bug: str,
    json_path: Path | None,
) -> None:
    """Run the pipeline against models of Postgres and the disk that fail in every way.

    In virtual time, and each seed the same each time. The shortest plan that breaks a promise is
    printed as soon as it is found; the exit code is 1 then.
    """
    screen = console.make()
    bugs.require(bug)
    if seed is not None:
        bugs.plant(bug)
        sys.exit(_show_one(seed))
    with console.progress(screen, "starting", seeds) as update:
        found = runner.run_many(
            first,
            seeds,
            processes=processes,
            bug=bug,
            seconds=seconds,
            on_progress=_Progress(screen, update),
        )
    report.show(screen, found)
    if json_path is not None:
        console.write_json(json_path, report.as_json(found))
    if found.failures:
        sys.exit(_BROKEN_EXIT_CODE)


class _Progress:
    """Moves the bar, or says a line now and then; and tells of a failure as soon as it is found."""

    def __init__(self, screen: Console, update: Update) -> None:
        self._screen = screen
        self._update = update
        self._said_s = 0.0
        self._told = 0

    def __call__(self, found: Found) -> None:
        """Show how far it is, and what has failed since it was last told of."""
        for failure in found.failures[self._told :]:
            report.show_failure(self._screen, failure)
        self._told = len(found.failures)
        rate = found.seeds / max(found.wall_s, 1e-9)
        said = f"{rate:.1f} seeds/s, {report.pace(found):,.0f} minutes a minute"
        self._update(description=said, completed=found.seeds)
        if not self._screen.is_terminal and found.wall_s - self._said_s >= _LINE_S:
            self._said_s = found.wall_s
            self._screen.print(f"{found.seeds:,} seeds, {said}", highlight=False)


def _show_one(seed: int) -> int:
    """Run one seed and print its plan and all that happens; return the exit code."""
    drawn = plan.draw(seed)
    outcome = simulation.run(drawn)
    simulation.forget_past()
    for line in (*report.lines_of(drawn), "", *outcome.trace, ""):
        click.echo(line)
    click.echo(f"{outcome.simulated_s:.3f} s simulated; all of it is {outcome.digest}")
    for invariant, text in outcome.findings:
        click.echo(f"BROKEN {invariant}: {text}")
    return _BROKEN_EXIT_CODE if outcome.findings else 0
