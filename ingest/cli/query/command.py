"""The commands of `nonito query`: their options are the parameters of the query API."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import click

from ingest.cli.query import inquiry, local, output
from ingest.cli.query.inquiry import Given, Inquiry
from ingest.cli.settings import load_quietly
from ingest.cli.text import require_text
from ingest.errors import StartupError

_Command = Callable[..., None]
_Option = Callable[[_Command], _Command]

_VARIABLE: Final = "NONITO_READ_KEY"
_INTERRUPTED: Final = 130  # what a shell makes of SIGINT


class _Way(NamedTuple):
    """Who is asked, and how the answer is printed."""

    app: str | None
    server: str | None
    key: str | None
    as_json: bool
    as_csv: bool


@click.group("query")
def query_group() -> None:
    """Ask questions about an app's events: trends, funnels, retention, lists.

    They are answered here, of the configured database and the archive beside it; no server has to
    run. With --server they are asked of one.

    Tables are as wide as the terminal, or as COLUMNS says, and on a terminal trends have a chart.
    As of when an answer is, and what is not over yet, is said on standard error.

    A field is a parameter, such as plan or cart.total (also written params.plan), or name or person
    of the event itself; parameters that are called so are params.name and params.person.
    """


def _with(*options: _Option) -> _Option:
    """Return what gives options to a command, in their order."""

    def give(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return give


_way = _with(
    click.option("--app", metavar="NAME", help="Whose events. Default: the only app's."),
    click.option("--server", metavar="URL", help="Ask this one's query API over HTTP instead."),
    click.option(
        "--key",
        metavar="KEY",
        help=f"To ask a server with; better in {_VARIABLE}, where nobody sees it. Made by: "
        "nonito keys create --app NAME --read",
    ),
    click.option("--json", "as_json", is_flag=True, help="The answer of the query API itself."),
    click.option("--csv", "as_csv", is_flag=True, help="CSV, a row for each figure or event."),
    click.pass_context,
)
_range = _with(
    click.option(
        "--from", metavar="TIME", help="A day, or a time. Default: 30 days before the end."
    ),
    click.option(
        "--to", metavar="TIME", help="What does not belong any more. Default: the end of today."
    ),
    click.option(
        "--last",
        metavar="LENGTH",
        help="Up to now, instead: 24h, 7d, 12mo; today belongs to it.",
    ),
    click.option("--timezone", metavar="ZONE", help="Such as Europe/Berlin. Default: the app's."),
)
_where = click.option(
    "--where",
    metavar="FIELD:OPERATOR:VALUE",
    multiple=True,
    help="As plan:eq:pro; eq, ne, gt, lt, ge, le, contains, or without a value exists, missing. Of"
    " several with | between them one has to be true; all --where have to.",
)
_breakdown = _with(
    click.option("--breakdown", metavar="FIELD", help="By the values of a field."),
    click.option("--top", metavar="N", help="So many values, the greatest. Default: 10."),
)
_page = _with(
    click.option("--limit", metavar="N", help="So many at most. Default: 100."),
    click.option("--before", metavar="AT,ID", help="From before a place, as the last page says."),
)


@query_group.command("trends")
@click.option("--event", metavar="NAME", multiple=True, help="Up to 10. Default: all together.")
@click.option(
    "--measure",
    metavar="MEASURE",
    help="count, people, or sum, average, min, max, median or p1 to p99 of a field, as sum:amount."
    " Default: count.",
)
@_breakdown
@click.option("--interval", metavar="WORD", help="hour, day, week or month. Default: day.")
@_where
@_range
@_way
def ask_trends(context: click.Context, **given: Any) -> None:  # noqa: ANN401 - options
    """How much in each hour, day, week or month.

    \b
      nonito query trends --event purchase --breakdown plan --interval day
      nonito query trends --event purchase --measure sum:amount --where country:eq:DE
    """  # noqa: D301 - click knows a paragraph to be left as it is by this character
    _ask(context, given, partial(inquiry.of, "/v1/trends"))


@query_group.command("funnel")
@click.option("--step", metavar="NAME", multiple=True, help="2 to 10 events, in their order.")
@click.option("--window", metavar="SPAN", help="From the first step on: 30m, 24h. Default: 7d.")
@_breakdown
@_where
@_range
@_way
def ask_funnel(context: click.Context, **given: Any) -> None:  # noqa: ANN401 - options
    """How many people get from step to step, and how fast.

    \b
      nonito query funnel --step view --step sign_up --step purchase --window 1d
    """  # noqa: D301 - as above
    _ask(context, given, partial(inquiry.of, "/v1/funnel"))


@query_group.command("retention")
@click.option("--first", metavar="NAME", help="What makes one belong. Default: any event.")
@click.option("--then", metavar="NAME", help="What it is to be back. Default: any event.")
@click.option("--interval", metavar="WORD", help="day, week or month. Default: week.")
@click.option(
    "--kind",
    metavar="WORD",
    help="first_time: by the first one ever; recurring: by one in each period."
    " Default: first_time.",
)
@click.option(
    "--back",
    metavar="WORD",
    help="on: back in a period; on_or_after: in it or later. Default: on.",
)
@_where
@_range
@_way
def ask_retention(context: click.Context, **given: Any) -> None:  # noqa: ANN401 - options
    """How many people come back, and after how long.

    \b
      nonito query retention --first sign_up --then purchase --interval week
    """  # noqa: D301 - as above
    _ask(context, given, partial(inquiry.of, "/v1/retention"))


@query_group.command("names")
@click.option("--top", metavar="N", help="So many values of each parameter. Default: 10.")
@_way
def ask_names(context: click.Context, **given: Any) -> None:  # noqa: ANN401 - options
    """Which events there are, with which parameters.

    \b
      nonito query names --top 3
    """  # noqa: D301 - as above
    _ask(context, given, partial(inquiry.of, "/v1/names"))


@query_group.command("events")
@click.option("--event", metavar="NAME", help="Default: all.")
@_where
@_range
@_page
@_way
def ask_events(context: click.Context, **given: Any) -> None:  # noqa: ANN401 - options
    """List events, the latest first. Without a range it is all of them.

    \b
      nonito query events --event purchase --where amount:gt:100 --limit 20
    """  # noqa: D301 - as above
    _ask(context, given, partial(inquiry.of, "/v1/events"))


@query_group.command("person")
@click.argument("person")
@_page
@_way
def ask_person(context: click.Context, person: str, **given: Any) -> None:  # noqa: ANN401 - options
    """List the events of PERSON, the latest first.

    Who did an event is said by the parameter that `nonito apps list` shows, or else by what an SDK
    says; PERSON may be any of somebody's ids that events have joined.

    \b
      nonito query person 12345
    """  # noqa: D301 - as above
    require_text("PERSON", person)
    _ask(context, given, partial(inquiry.of_person, person))


def _ask(context: click.Context, given: dict[str, Any], make: Callable[[Given], Inquiry]) -> None:
    """Ask, and print the answer; raise StartupError."""
    way = _Way(**{name: given.pop(name) for name in _Way._fields})
    if way.as_json and way.as_csv:
        raise StartupError("choose one of --json and --csv")
    try:
        body = _answer(context, way, make(given))
    except KeyboardInterrupt:
        # No thread is waited for: Postgres may hang.
        os._exit(_INTERRUPTED)
    if way.as_json:
        output.print_json(body)
    elif way.as_csv:
        output.print_csv(body)
    else:
        output.print_table(body)


def _answer(context: click.Context, way: _Way, asked: Inquiry) -> bytes:
    settings = load_quietly(context)
    if way.server is None:
        if way.key is not None:
            raise StartupError("--key is for a server: --server URL")
        return local.ask(settings, asked, way.app)
    if way.app is not None:
        raise StartupError("--app: a server is told by the key whose events are meant")
    from ingest.cli.query import remote  # noqa: PLC0415 - aiohttp, for those who ask a server

    key = way.key or os.environ.get(_VARIABLE, "")
    return remote.ask(way.server, key, settings.dashboard.question_timeout_s, asked)
