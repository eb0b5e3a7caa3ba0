"""The command `hostile`: each kind of misbehaving peer in turn, and what it cost the others."""

from pathlib import Path

import click

from bench import console, servers
from bench.hostile import impact, report, runner


@click.command()
@click.option("--seconds", default=5.0, type=click.FloatRange(0.1), help="Of each kind.")
@click.option("--only", multiple=True, metavar="KIND", help="Only this kind. Repeatable.")
@servers.workers_option
@console.json_option
def hostile(*, seconds: float, only: tuple[str, ...], workers: int, json_path: Path | None) -> None:
    """Let misbehaving peers loose, and say what they cost a bystander.

    Kinds: nobody, slow-heads, slow-bodies, idle, half-open, never-reading, resetters, half-closers,
    garbage, big-heads, large-bodies, endless-heads, unread-batches, gzip-bombs, large-batches,
    floods, batch-floods, async-floods.
    """
    screen = console.make()
    kinds = runner.choose(only)
    with screen.status("starting") as status:
        impacts = list(runner.measure(kinds, seconds, workers, status.update))
    report.show(screen, impacts)
    if json_path is not None:
        console.write_json(json_path, impact.as_json(impacts, seconds, workers))
