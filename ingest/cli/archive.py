"""`nonito archive`: the columnar copy that questions are asked of, looked at, proved, made anew."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import click

from ingest.archive import founding, merging, passes, report, verification
from ingest.archive.directory import Directory
from ingest.archive.failures import ArchiveTrouble
from ingest.archive.patience import patiently
from ingest.archive.report import Report
from ingest.archive.verification import Verified
from ingest.archive.workspace import Bounds, Workspace, opened
from ingest.cli.database_url import database
from ingest.cli.settings import load_quietly
from ingest.cli.table import day, echo_table, printable, second
from ingest.config import Config
from ingest.errors import StartupError
from ingest.store.database_url import forget_unsearchable_home

T = TypeVar("T")

_TAIL_MAX: Final = 1_000_000
_LINE_EVENTS: Final = 1_000_000
"""Where the output is no terminal, a line tells of the progress each so many events."""
_DIFFERENCES_MAX: Final = 100


@click.group("archive")
def archive_group() -> None:
    """Look at the columnar copy of the events, prove it equal to Postgres, or make it anew.

    It lies in the directory archive.path, is made by the servers of a database, one at a time, and
    is what questions are asked of. Nothing is only there, unless it is kept there for longer than
    in Postgres: `nonito retention` says so.
    """


@archive_group.command("status")
@click.pass_context
def show_status(context: click.Context) -> None:
    """Say what the archive holds, how much it lacks, and what keeps it behind.

    The exit code is 1 if it can't be asked.
    """
    found = _with_workspace(
        context, lambda workspace, path: report.make(workspace, path, _TAIL_MAX)
    )
    if found.apps:
        echo_table([_HEADING, *(_as_row(each) for each in found.apps)])
    for line in _told(found):
        click.echo(line, err=True)
    if found.trouble:
        raise StartupError(f"the archive can't be asked: {found.trouble}")


_HEADING: Final = ("APP", "FILES", "EVENTS", "BYTES", "FROM", "TO")


def _as_row(each: report.OfApp) -> tuple[str, ...]:
    return (
        each.app,
        str(each.files),
        str(each.events),
        str(each.bytes),
        second(each.at_min),
        second(each.at_max),
    )


def _told(found: Report) -> Iterator[str]:
    yield f"{found.events} events are in {found.directory}: all that settled before {found.mark}."
    more = "" if found.is_whole_tail else "more than "
    yield f"{more}{found.tail} are not there yet; questions read them from Postgres."
    if not found.is_whole_tail and found.stored_estimate > found.events:
        share = 100 * found.events // found.stored_estimate
        yield f"About {share} % of {found.stored_estimate} are archived."
    yield f"Somebody worked on it {found.age_s:.0f} s ago."
    if found.holding:
        yield f"What is newer than an open transaction waits for it: {found.holding}."


@archive_group.command("verify")
@click.pass_context
def verify_archive(context: click.Context) -> None:
    """Prove by app and day that archive and what it lacks equal Postgres; reads everything.

    Counts and checksums over id, name and parameters are compared in one snapshot, and each file
    with its checksum. Numbers are compared as the archive keeps them: in 64 bits. Differences are
    listed, and the exit code is 1 then; `nonito archive rebuild` mends them. Of events that are
    kept here for longer than in Postgres there is only their files' checksum to go by.
    """

    def work(workspace: Workspace, path: Path) -> Verified:
        with _progress("verifying", verification.estimate(workspace)) as tell:
            return verification.verify(workspace, path, tell)

    found = _with_workspace(context, work)
    _tell_differences(found)
    click.echo(
        f"{found.events} events of {found.days} days compared, {found.tail} of them not in the"
        f" archive yet: {len(found.differences)} days differ, {len(found.damaged)} files are"
        " damaged.",
        err=True,
    )
    if found.alone:
        click.echo(
            f"{found.alone} events are kept here for longer than in Postgres: there is nothing to"
            " compare them with but the checksums of their files.",
            err=True,
        )
    if found.doubled:
        click.echo(f"{found.doubled} of them are there more than once.", err=True)
    if not found.is_good:
        sys.exit(1)


def _tell_differences(found: Verified) -> None:
    if found.differences:
        shown = found.differences[:_DIFFERENCES_MAX]
        heading = ("APP", "DAY", "ARCHIVE", "POSTGRES", "DIFFERENCE")
        echo_table(
            [
                heading,
                *(
                    (
                        str(each.app_id),
                        day(each.day),
                        str(each.archived.events),
                        str(each.stored.events),
                        each.reason,
                    )
                    for each in shown
                ),
            ]
        )
    if len(found.differences) > _DIFFERENCES_MAX:
        click.echo(f"and {len(found.differences) - _DIFFERENCES_MAX} more days", err=True)
    for name in found.damaged:
        click.echo(f"damaged: {printable(name)}")


@archive_group.command("rebuild")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--without-lost",
    is_flag=True,
    help="Without what only files held that are missing or damaged.",
)
@click.pass_context
def rebuild_archive(
    context: click.Context,
    yes: bool,  # noqa: FBT001 - a flag
    without_lost: bool,  # noqa: FBT001 - a flag
) -> None:
    """Make the archive anew from Postgres, and throw the one that there is away; asks first.

    What Postgres has dropped, as it is kept here for longer, is carried over. If a file that holds
    some of it is missing or damaged, nothing is done, unless it is to be done without: then the old
    directory stays where it is.

    Until it is done, questions are refused that need what is not there yet. It may be interrupted:
    servers go on with it, and so does this command.
    """
    if not yes:
        click.confirm("Throw the archive away and make it anew?", abort=True, err=True)

    def work(workspace: Workspace, path: Path) -> int:
        directory = patiently(lambda: founding.begin(workspace, path, without_lost=without_lost))
        stored = report.make(workspace, path, 0).stored_estimate
        with _progress("archiving", stored) as tell:
            return _archive_all(workspace, directory, tell)

    click.echo(f"{_with_workspace(context, work)} events archived.", err=True)


def _archive_all(workspace: Workspace, directory: Directory, tell: Callable[[int], None]) -> int:
    done, is_last = 0, False
    while not is_last:
        passed = patiently(lambda: passes.archive(workspace, directory))
        done += passed.rows
        is_last = passed.is_last
        tell(passed.rows)
    while patiently(lambda: merging.merge(workspace, directory)):
        pass
    return done


@contextmanager
def _progress(label: str, events: int) -> Iterator[Callable[[int], None]]:
    """Yield what is told of events that are done: a bar on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        with click.progressbar(
            length=max(events, 1), label=label, file=sys.stderr, show_pos=True
        ) as bar:
            yield bar.update
        return
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if before // _LINE_EVENTS != done // _LINE_EVENTS:
            click.echo(f"{label}: {done} of about {max(events, done)}", err=True)

    yield tell


def _with_workspace(context: click.Context, work: Callable[[Workspace, Path], T]) -> T:
    """Do a piece of work on the archive of the configuration; raise StartupError."""
    settings = load_quietly(context)
    try:
        with database(settings) as (url, _):
            forget_unsearchable_home()
            path, bounds = _bounds(settings)
            with opened(url, bounds) as workspace, workspace.judging():
                return work(workspace, path)
    except ArchiveTrouble as trouble:
        raise StartupError(str(trouble)) from trouble


def _bounds(settings: Config) -> tuple[Path, Bounds]:
    path = Path(settings.archive.path)
    return path, Bounds(settings.archive.memory_max, settings.archive.threads, path)
