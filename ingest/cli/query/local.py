"""A question that is asked directly: of the configured database and the archive beside it.

It is answered by what answers in a server, within the same time, and needs none that runs.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ingest.api.answering import Answering
from ingest.api.desk import Desk
from ingest.api.refusals import Refused
from ingest.archive.failures import ArchiveTrouble
from ingest.archive.view import Views, views_of
from ingest.cli.database import in_session_at
from ingest.cli.database_url import database
from ingest.cli.query.inquiry import Inquiry
from ingest.cli.table import printable
from ingest.config import Config
from ingest.errors import StartupError
from ingest.insights.questions import Question
from ingest.store import app_settings
from ingest.store.app_settings import AppSettings

_END_S: Final = 1.0
"""So long DuckDB may take to stop."""


def ask(settings: Config, inquiry: Inquiry, app_name: str | None) -> bytes:
    """Return the answer as JSON; raise StartupError."""
    try:
        with database(settings) as (url, _):
            apps = in_session_at(settings, url, app_settings.list_all, migrate=False)
            app = _chosen(apps, app_name)
            question = inquiry.question(app)
            with _views(settings, url) as views:
                return asyncio.run(_answer(settings, views, app.id, question))
    except Refused as refused:
        raise inquiry.refused(refused.code, refused.message) from None
    except ArchiveTrouble as trouble:
        raise StartupError(printable(str(trouble))) from trouble


def _chosen(apps: list[AppSettings], name: str | None) -> AppSettings:
    """Return the app of a name, or the only one there is; raise StartupError."""
    if name is None:
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise StartupError("there is no app yet: nonito keys create --app NAME makes one")
        raise StartupError(f"say which of {len(apps)} apps is meant: --app NAME; nonito apps list")
    found = next((each for each in apps if each.name == name), None)
    if found is None:
        raise StartupError(f"there is no app {name!r}: nonito apps list")
    return found


@contextmanager
def _views(settings: Config, url: str) -> Iterator[Views]:
    views = views_of(settings, url)
    try:
        yield views
    finally:
        views.rest()


async def _answer(settings: Config, views: Views, app_id: int, question: Question) -> bytes:
    """Raise Refused, or ArchiveTrouble. Cancelled, as by Ctrl-C, it has DuckDB stop."""
    desk = Desk(views.view, settings.dashboard.question_timeout_s)
    try:
        return await Answering(desk).answer(app_id, question)
    finally:
        await desk.close(_END_S)
