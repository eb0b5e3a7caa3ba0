"""What a demo says: how far it is filled, and where to look around."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click

from ingest.cli.demo.entry import APP, Entry
from ingest.cli.demo.server import Server
from ingest.demo.traffic import DAY_MS, Span

_GREETING: Final = """
{told}

  Dashboard:   {dashboard}
  Send:        curl -X POST {address}/event -H 'Content-Type: application/json' \\
                 -H 'X-API-Key: {write_key}' -d '{{"event_name": "page_view"}}'
  Ask:         curl -H 'X-API-Key: {read_key}' \\
                 '{questions}/v1/trends?event=order_completed&interval=day'
  And:         nonito --config {config} query funnel --step product_view --step order_completed

Visitors keep coming until Ctrl-C; the next start goes on from there. All of it is in {directory}:
delete that, or start with --anew, to be rid of it.
"""


class Places(NamedTuple):
    """Where a demo is."""

    directory: Path
    config: Path
    server: Server


@contextmanager
def progress(span: Span) -> Iterator[Callable[[int], None]]:
    """Show how far a filling is; what is yielded is told up to when."""
    length_ms = max(1, span.end_ms - span.begin_ms)
    with click.progressbar(length=length_ms, label=f"Filling {_long(length_ms)}") as bar:

        def tell(until_ms: int) -> None:
            bar.update(until_ms - span.begin_ms - bar.pos)

        yield tell


def _long(length_ms: int) -> str:
    days = length_ms / DAY_MS
    return f"{days:.0f} days" if days >= 1 else "the time since the last start"


def made(events: int, days: int) -> str:
    """Return what is said of a demo that is new."""
    return f"“{APP}” has {events:,} events of the last {days} days."


def found(events: int) -> str:
    """Return what is said of one that was there, to which so many events were added."""
    return f"“{APP}” is there as it was left; events of the time since then: {events:,}."


def text(told: str, places: Places, way_in: Entry) -> str:
    """Return that, and how to look around."""
    return _GREETING.format(
        told=told,
        dashboard=_dashboard(places, way_in),
        address=places.server.address,
        questions=places.server.dashboard,
        write_key=way_in.write_key,
        read_key=way_in.read_key,
        config=places.config,
        directory=places.directory,
    )


def _dashboard(places: Places, way_in: Entry) -> str:
    address = places.server.dashboard
    if way_in.token is None:
        return f"{address} (somebody has an account there already)"
    return f"{address}/welcome/{way_in.token} (a link that opens once, within an hour)"
