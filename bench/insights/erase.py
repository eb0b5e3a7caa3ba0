"""The command `erase`: how long it takes until a person is gone, and whether they are.

The database is that of `insights`. The person is one who has about so many events, strewn over all
of the two months; the commands are the product's, as people run them.
"""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from bench import console, targets
from bench.console import Console
from bench.errors import BenchError
from bench.insights import filling, place
from bench.insights.filling import APP, TIMEOUT_S, Bar, Site
from bench.insights.result import EVENTS
from bench.targets import Bound, Target

PERSON_EVENTS: Final = 10_000
ERASED_S: Final = Bound("at most", 120)


class Gone(NamedTuple):
    """What came of it."""

    events: int
    """Of the person."""
    of: int
    """So many there were."""
    erased_s: float
    searched_s: float
    nothing_found: bool
    verified_s: float
    is_verified: bool
    load_average: float
    """Of the machine when it began: its processors may have had other things to do."""

    @property
    def targets(self) -> list[Target]:
        """Return what it is held to."""
        return [
            Target(
                "erased, s", f"{self.erased_s:.1f}", ERASED_S.admits(self.erased_s), f"{ERASED_S}"
            ),
            _held("a search finds", "nothing", "something", is_so=self.nothing_found),
            _held("archive verify", "holds", "differs", is_so=self.is_verified),
        ]


def _held(name: str, wanted: str, other: str, *, is_so: bool) -> Target:
    return Target(name, wanted if is_so else other, is_so, wanted)


@click.command()
@click.option("--events", default=EVENTS, type=click.IntRange(1_000), help="Of all people.")
@click.option(
    "--person-events",
    default=PERSON_EVENTS,
    type=click.IntRange(1),
    help="Of the person: the one who comes nearest to it.",
)
@click.option(
    "--keep",
    "kept",
    type=click.Path(file_okay=False, path_type=Path),
    help="Fill the database in this directory, or use the one that is there.",
)
@console.json_option
def erase(*, events: int, person_events: int, kept: Path | None, json_path: Path | None) -> None:
    """Erase a person of many, search for them, and prove that nobody else lost anything."""
    screen = console.make()
    found = measure(events, person_events, kept, partial(console.progress, screen))
    _show(screen, found)
    if json_path is not None:
        console.write_json(json_path, found._asdict())


def measure(events: int, person_events: int, kept: Path | None, bar: Bar) -> Gone:
    """Fill, erase, search and verify; raise BenchError."""
    with place.opened(kept) as where:
        site = filling.prepared(where, events, bar)
        person, count = _choose(site, person_events)
        site.views.rest()
        load = os.getloadavg()[0]
        with bar("erasing", 3) as update:
            erased_s, _ = _timed(site, update, "people", "erase", person, "--app", APP, "--yes")
            searched_s, nothing = _timed(site, update, "people", "search", person, "--app", APP)
            verified_s, holds = _timed(site, update, "archive", "verify")
        return Gone(count, events, erased_s, searched_s, nothing, verified_s, holds, load)


def _choose(site: Site, wanted: int) -> tuple[str, int]:
    """Return who has about so many events, and how many."""
    with site.views.view(site.app_id) as view:
        events = " UNION ALL ".join(f"SELECT person FROM {each}" for each in view.sources)
        found = view.connection.execute(
            f"SELECT person, count(*) AS n FROM ({events}) WHERE person IS NOT NULL GROUP BY 1"
            f" ORDER BY abs(n - {int(wanted)}), person LIMIT 1"
        ).fetchall()
    if not found:
        raise BenchError("there is nobody to be erased")
    return found[0][0], found[0][1]


def _timed(site: Site, update: Any, *arguments: str) -> tuple[float, bool]:  # noqa: ANN401 - a bar's
    """Run a command of the product's; return how long it took, and whether it ended with 0."""
    variables = {
        "NONITO_ARCHIVE_PATH": str(site.place.archive),
        "NONITO_SPOOL_PATH": str(site.place.archive.parent / "spool"),
    }
    begun_s = time.perf_counter()
    ended = subprocess.run(  # noqa: S603 - what is asked for here
        (sys.executable, "-m", "ingest", "--database-url", site.place.database_url, *arguments),
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    took_s = time.perf_counter() - begun_s
    if ended.returncode and arguments[1] == "erase":
        raise BenchError(f"nobody was erased: {ended.stderr.strip()[-300:]}")
    update(advance=1)
    return took_s, ended.returncode == 0


def _show(screen: Console, found: Gone) -> None:
    screen.print(
        f"{found.events:,} of {found.of:,} events; searched in {found.searched_s:.1f} s, verified"
        f" in {found.verified_s:.1f} s; the load was {found.load_average:.1f} when it began"
    )
    rows = (((each.name, each.wanted, each.measured), each.is_reached) for each in found.targets)
    screen.print(targets.table(("", "wanted", "seen"), rows))
