"""`nonito demo`: what is asked for, and what is there already."""

import asyncio
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import click

from ingest import insights_extra
from ingest.cli import options
from ingest.cli.demo import place, state
from ingest.cli.demo.run import Demo
from ingest.cli.demo.server import require_free
from ingest.cli.demo.state import State
from ingest.demo.traffic import DAY_MS
from ingest.errors import StartupError
from ingest.observe import logs
from ingest.store.app_settings import is_zone
from ingest.store.embedded import find_programs

_USUAL_PORT, _USUAL_DASHBOARD_PORT = 8080, 8081
_ZONE: Final = "Europe/Berlin"
_Port: Final = click.IntRange(0, 65_535)


class _Size(NamedTuple):
    """What a new demo is to be."""

    events: int = 120_000
    days: int = 14
    seed: int = 1


_USUAL: Final = _Size()


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default=Path("demo-data"),
    show_default=True,
    help="Where all of it is.",
)
@click.option("--port", type=_Port, default=_USUAL_PORT, show_default=True, help="For events.")
@click.option(
    "--dashboard-port",
    type=_Port,
    default=_USUAL_DASHBOARD_PORT,
    show_default=True,
    help="For the dashboard.",
)
@click.option(
    "--events",
    type=click.IntRange(100, 1_000_000),
    help=f"How many it begins with, roughly. Default: {_USUAL.events}.",
)
@click.option(
    "--days", type=click.IntRange(2, 90), help=f"Of how many days. Default: {_USUAL.days}."
)
@click.option("--seed", type=int, help=f"Another number, other people. Default: {_USUAL.seed}.")
@click.option("--anew", is_flag=True, help="First throw away the demo that is there.")
@click.pass_context
def demo(
    context: click.Context,
    /,
    directory: Path,
    port: int,
    dashboard_port: int,
    anew: bool,  # noqa: FBT001 - as click has it
    **size: int | None,
) -> None:
    """Run a server with two weeks of a made-up shop's events, to look around in.

    It has a Postgres of its own, in a directory of its own, and goes by no other configuration.
    The shop's visitors go on until Ctrl-C. The next start goes on from there, and adds what
    happened meanwhile.
    """
    if named := options.given(context):
        option = f"--{min(named).replace('_', '-')}"
        raise StartupError(f"a demo has a Postgres of its own: leave out {option}")
    _require_installed()
    logs.configure("error", "auto")
    with place.held(directory) as lock:
        require_free(port, "--port")
        require_free(dashboard_port, "--dashboard-port")
        if anew:
            place.throw_away(directory)
        found = _found(directory, {name: each for name, each in size.items() if each is not None})
        config = place.write_config(directory, port, dashboard_port)
        sys.exit(asyncio.run(Demo(directory, found, config).run(lock)))


def _require_installed() -> None:
    """Raise StartupError without the extras that a server alone can do without."""
    find_programs()
    if not all(map(find_spec, insights_extra.PACKAGES)):
        raise StartupError(f"the demo needs what its dashboard needs: {insights_extra.INSTALL}")


def _found(directory: Path, given: dict[str, int]) -> State:
    """Return the demo that is there, if it is as it is asked for, or else a new one."""
    if (known := state.read(directory)) is None:
        place.require_room(directory)
        made = _new(_Size(**given))
        state.write(directory, made)
        return made
    for name, wanted in given.items():
        if (found := getattr(known, name)) != wanted:
            raise StartupError(
                f"the demo in {directory} was made with --{name} {found}: leave it out, "
                "or throw that demo away with --anew"
            )
    return known


def _new(size: _Size) -> State:
    opened_ms = time.time_ns() // 1_000_000 - size.days * DAY_MS
    return State(
        seed=size.seed,
        events=size.events,
        days=size.days,
        zone=_ZONE if is_zone(_ZONE) else "UTC",
        opened_ms=opened_ms,
        until_ms=opened_ms,
    )
