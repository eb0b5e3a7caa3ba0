"""`nonito people`: what is stored of one person, searched for, exported, and erased."""

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

import click
import orjson

from ingest import cores
from ingest.app.database import make_postgres
from ingest.archive.failures import ArchiveTrouble
from ingest.archive.view import Views, views_of
from ingest.cli.database_url import database
from ingest.cli.settings import load_quietly
from ingest.cli.table import echo_table, printable, second
from ingest.cli.text import require_text
from ingest.config import Config
from ingest.errors import StartupError
from ingest.privacy.eraser import Eraser, Unfinished
from ingest.privacy.export import UNREAD, Export
from ingest.privacy.people import Person, TooMany, is_id
from ingest.privacy.search import EVER, Found
from ingest.privacy.spooled import Unread
from ingest.store import app_settings, erasing, erasures, migrations
from ingest.store.app_settings import AppSettings
from ingest.store.database_url import forget_unsearchable_home
from ingest.store.erasing import Whose
from ingest.store.erasures import Erasure
from ingest.store.failures import Unavailable
from ingest.store.kept import Kept

T = TypeVar("T")

_TIMEOUT_S: Final = 60.0
_THREADS_MAX: Final = 4
_IDS_SHOWN: Final = 20
_FOLLOW_S: Final = 1.0
_NOBODY: Final = "nothing is stored of it; upper and lower case differ, and so do `1` and `01`"


@click.group("people")
def people_group() -> None:
    """Search for what is stored of one person, export it, or erase it.

    ID is what the app's user field says, or an SDK's id. All ids that events have joined to it are
    meant as well, as on the person's page of the dashboard.
    """


class _At(NamedTuple):
    """Where a command works."""

    settings: Config
    kept: Kept
    eraser: Eraser
    views: Views
    app: AppSettings


class _SearchError(StartupError):
    """Nobody knows whether there is something."""

    exit_code = 2


Work = Callable[[_At], Awaitable[T]]

_app = click.option("--app", "app_name", required=True, metavar="NAME", help="Whose events.")
_alone = click.option(
    "--only-this-id", "is_alone", is_flag=True, help="Not what events have joined to it."
)


@people_group.command("search")
@click.argument("person", metavar="ID")
@_app
@_alone
@click.pass_context
def search_person(context: click.Context, person: str, app_name: str, *, is_alone: bool) -> None:
    """Look everywhere for what is stored of ID, and say how much there is, place by place.

    Each event of the app is looked at. The exit code is 0 if there is nothing, 1 if there is
    something, and 2 if nothing was found but not all could be looked at. Erasures of the id are
    told of as well.
    """

    async def work(at: _At) -> Found:
        for each in await at.kept.read(lambda one: erasures.of_person(one, at.app.id, person)):
            click.echo(_erased(each), err=True)
        ids = (await _look_up(at, person, is_alone=is_alone)).ids
        for line in _named(at.app, ids):
            click.echo(line, err=True)
        return await at.eraser.search.all(Whose(at.app.id, at.app.user_field, ids, EVER))

    try:
        found = _run(context, person, app_name, work)
    except StartupError as error:
        raise _SearchError(str(error)) from error
    echo_table(_as_table(found))
    _tell_unread(found.unread)
    if not found.is_nothing:
        sys.exit(1)
    if any(found.unread):
        sys.exit(_SearchError.exit_code)


@people_group.command("export")
@click.argument("person", metavar="ID")
@_app
@_alone
@click.pass_context
def export_person(context: click.Context, person: str, app_name: str, *, is_alone: bool) -> None:
    """Write everything that is stored of ID to standard output, one JSON object a line.

    The first line says whom it is of: all ids of the person. Each other one has a `kind`: event,
    spooled_event, rejected_event, or link, which is what has joined two ids. The last one is unread
    where something in this server's spool can't be read; the exit code is 1 then.
    """
    output = sys.stdout.buffer  # JSON is UTF-8, whatever the terminal's encoding

    async def work(at: _At) -> bytes:
        line = b""
        who = await _look_up(at, person, is_alone=is_alone)
        export = Export(at.kept, at.settings, at.eraser.search, at.views.view)
        async for line in export.lines(at.app, who.ids):
            output.write(line)
        return line

    last = orjson.loads(_run(context, person, app_name, work))
    output.flush()
    if last.pop("kind") == UNREAD:
        _tell_unread(Unread(**last))
        sys.exit(1)


@people_group.command("erase")
@click.argument("person", metavar="ID")
@_app
@_alone
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def erase_person(
    context: click.Context, person: str, app_name: str, *, is_alone: bool, yes: bool
) -> None:
    """Erase everything that is stored of ID, for good: says what, and asks first.

    From Postgres, the archive, this server's spool, rejected events, idempotency keys, links
    between ids, and boards that ask for it; then searches in each of these, and says what it finds.
    It may be interrupted: servers go on with it, and so does this command. What is received of the
    person from now on is stored as new.
    """
    require_terminal(is_sure=yes)

    async def work(at: _At) -> tuple[Erasure, Found | None]:
        erasure = await _asked(at, person, is_alone=is_alone, is_sure=yes)
        return await _erase(at, erasure)

    done, found = _run(context, person, app_name, work)
    click.echo(f"Erased: {done.told}.", err=True)
    if found is not None:
        echo_table(_as_table(found))
        _tell_unread(found.unread)


def require_terminal(*, is_sure: bool) -> None:
    """Raise StartupError where nobody can be asked."""
    if not is_sure and not sys.stdin.isatty():
        raise StartupError("nobody is here to be asked: --yes says that it is meant")


async def _asked(at: _At, person: str, *, is_alone: bool, is_sure: bool) -> Erasure:
    """Return what there is to do, once it is confirmed; what was left unfinished goes on."""
    app_id = at.app.id
    for each in await at.kept.read(lambda one: erasures.of_person(one, app_id, person)):
        if each.done_at is None:
            click.echo(f"The erasure of {second(each.asked_at)} goes on.", err=True)
            return each
    who = await _look_up(at, person, is_alone=is_alone)
    whose = Whose(app_id, at.app.user_field, who.ids, datetime.now(UTC))
    search = at.eraser.search
    spooled, _ = await search.spooled(whose)
    rejected = len([each async for each in search.rejected(whose)])
    links = await at.kept.read(lambda one: erasing.count_links(one, whose))
    tiles = len(await search.tiles(whose))
    if not any((who.events.number, spooled, rejected, links, tiles)):
        raise StartupError(f"{printable(person)!r}: {_NOBODY}")
    told = (
        f"{who.events.number} events from {second(who.events.earliest)} to"
        f" {second(who.events.latest)}, {rejected} rejected, {spooled} in this server's spool,"
        f" {links} links of ids, {tiles} tiles of boards"
    )
    for line in _named(at.app, who.ids):
        click.echo(line, err=True)
    click.echo(f"{told}. This can't be undone.", err=True)
    if not is_sure:
        typed = click.prompt("Type the id to erase it", default="", show_default=False, err=True)
        if typed != person:
            raise StartupError("that is another id: nothing is erased")
    by = f"nonito people, {_user()}"
    return await at.kept.change(lambda one: erasures.ask(one, app_id, who.ids, by))


def _named(app: AppSettings, ids: list[str]) -> Iterator[str]:
    shown = ", ".join(printable(each) for each in ids[:_IDS_SHOWN])
    more = f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else ""
    whose = "This id" if len(ids) == 1 else f"These {len(ids)} ids of one person"
    yield f"{whose} of app {printable(app.name)}: {shown}{more}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of a user without a name
        return "somebody"


async def _erase(at: _At, erasure: Erasure) -> tuple[Erasure, Found | None]:
    """Erase, or watch another process erase."""
    last: tuple[str, int] | None = None

    def tell(step: str, done: int, of: int) -> None:
        nonlocal last
        shown = f"{step}: {_STEPS[step]}"
        tenth = done * 10 // of if of else 0
        if (step, tenth) != last:
            last = (step, tenth)
            click.echo(f"{shown} {done} of {of}" if of else shown, err=True)

    while (taken := await at.eraser.take(erasure.id)) is None:
        found = await at.kept.read(lambda one: erasures.find(one, at.app.id, erasure.id))
        if found is None or found.done_at is not None:
            return found or erasure, None
        tell("elsewhere", 0, 0)
        await asyncio.sleep(_FOLLOW_S)
    return await at.eraser.erase(taken, tell)


_STEPS: Final = {
    "elsewhere": "another process is at an erasure; waiting",
    "spool": "events that wait on this server's disk are brought to Postgres first",
    "archive": "files of the archive made anew",
    "events": "what is in Postgres alone",
    "rest": "rejected events, links of ids, boards",
    "search": "a search in every place; events looked at",
}


async def _look_up(at: _At, person: str, *, is_alone: bool) -> Person:
    """Return who it is; where there is no archive, an id is itself."""
    try:
        return await at.eraser.search.who(at.views.view, at.app, person, is_alone=is_alone)
    except TooMany as error:
        raise StartupError(f"{error}; --only-this-id means it alone") from None


def _as_table(found: Found) -> list[tuple[str, str]]:
    return [
        ("WHERE", "FOUND"),
        ("events in Postgres", str(found.events)),
        ("events in the archive", str(found.archived)),
        ("this server's spool", str(found.spooled)),
        ("rejected events", str(found.rejected)),
        ("links of ids", str(found.links)),
        ("tiles of boards", str(found.tiles)),
    ]


def _tell_unread(unread: Unread) -> None:
    events, files = unread
    if any(unread):
        named = f", and {', '.join(map(printable, files))}" if files else ""
        click.echo(
            f"What can't be read in the spool was not looked at: {events} events{named}", err=True
        )


def _erased(each: Erasure) -> str:
    if each.done_at is None:
        trouble = f": {printable(each.trouble)}" if each.trouble else ""
        return f"Being erased since {second(each.asked_at)}, at {each.stage}{trouble}"
    return f"Erased at {second(each.done_at)}: {each.told}"


def _run(context: click.Context, person: str, app_name: str, work: Work[T]) -> T:
    """Do a piece of work about a person of an app; raise StartupError."""
    if not is_id(person):
        raise StartupError("ID is neither blank nor other than UTF-8")
    require_text("--app", app_name)
    settings = load_quietly(context)
    try:
        with database(settings) as (url, _):
            forget_unsearchable_home()
            with _views(settings, url) as views:
                return asyncio.run(_work(settings, url, views, app_name, work))
    except Unfinished as unfinished:
        raise StartupError(f"{unfinished}. The same command goes on with it.") from None
    except (ArchiveTrouble, Unavailable) as trouble:
        raise StartupError(printable(str(trouble))) from trouble


async def _work(settings: Config, url: str, views: Views, app_name: str, work: Work[T]) -> T:
    postgres = make_postgres(settings, url)
    await migrations.migrate(postgres)
    kept = Kept(postgres, _TIMEOUT_S)
    try:
        apps = await kept.read(app_settings.list_all)
        app = next((each for each in apps if each.name == app_name), None)
        if app is None:
            raise StartupError(f"there is no app {app_name!r}: nonito apps list")
        eraser = Eraser(kept, url, settings, min(cores.count(), _THREADS_MAX))
        return await work(_At(settings, kept, eraser, views, app))
    finally:
        await kept.rest()


@contextmanager
def _views(settings: Config, url: str) -> Iterator[Views]:
    views = views_of(settings, url)
    try:
        yield views
    finally:
        views.rest()
