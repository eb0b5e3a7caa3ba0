"""Apps: those that one has a part in, and of each what questions about its events go by."""

from typing import Final

from ingest.dashboard.problems import not_found
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.store import app_settings, audit_log
from ingest.store.app_settings import AS_SERVER, AppSettings, Days
from ingest.store.postgres import Connection

NAME_CHARS_MAX: Final = 100
_DIGITS_MAX: Final = 6
_NAME: Final = f"Give it a name of {NAME_CHARS_MAX} characters at most."
_TAKEN: Final = "There is an app of this name; choose another one."
_USER_FIELD: Final = "Name the parameter that says who did it, in a hundred characters at most."
_COLOUR: Final = "Choose one of the colours."
_DAYS: Final = (
    "Write a number of days, 0 for ever, or nothing for what the server is configured to; of the"
    " archive also -1, for as long as Postgres."
)
_ZONE: Final = "There is no such time zone; write one as Europe/Berlin, or UTC."


async def show_all(visit: Visit) -> Reply:
    """List the apps that one may see."""
    return await _list(visit, "", "")


async def _list(visit: Visit, name: str, error: str) -> Page:
    found = await visit.services.kept.read(app_settings.list_all)
    session = visit.session
    parts = [(app, role) for app in found if (role := session.role_in(app.id)) is not None]
    return Page("apps.html", {"parts": parts, "name": name, "error": error}, 422 if error else 200)


async def create(visit: Visit) -> Reply:
    """Make an app."""
    name = visit.form.get("name", "").strip()
    if not is_name(name):
        return await _list(visit, name[:NAME_CHARS_MAX], _NAME)

    async def work(connection: Connection) -> AppSettings | None:
        made = await app_settings.create(connection, name)
        if made is not None:
            await audit_log.note(connection, visit.email, made.id, "made an app", name)
        return made

    made = await visit.services.kept.change(work)
    return Elsewhere(f"/apps/{made.id}/live") if made else await _list(visit, name, _TAKEN)


async def show_settings(visit: Visit) -> Reply:
    """Show what holds for all events of an app."""
    return _settings(visit.app, "")


def _settings(app: AppSettings, error: str) -> Page:
    values = {"app": app, "error": error, "colours": app_settings.COLOURS}
    return Page("settings.html", values, 422 if error else 200)


async def change_settings(visit: Visit) -> Reply:
    """Change it."""
    user_field = visit.form.get("user_field", "").strip()
    zone = visit.form.get("timezone", "").strip()
    colour = visit.form.get("colour", visit.app.colour)
    days = _days(visit, "retain_days", visit.app.retain_days)
    archive_days = _days(visit, "archive_retain_days", visit.app.archive_retain_days)
    wanted = visit.app._replace(
        user_field=user_field[:NAME_CHARS_MAX],
        timezone=zone[:60],
        chosen_colour=colour,
        retain_days=None if days == AS_SERVER else days,
        archive_retain_days=None if archive_days == AS_SERVER else archive_days,
    )
    is_number = days is not None and archive_days is not None
    if error := _mistake(user_field, zone, colour) or ("" if is_number else _DAYS):
        return _settings(wanted, error)

    async def work(connection: Connection) -> AppSettings | None:
        changed = await app_settings.change(
            connection, visit.app.name, user_field, zone, colour, Days(days, archive_days)
        )
        told = (
            f"user field {user_field}, time zone {zone}, colour {colour},"
            f" events kept {_told(wanted.retain_days)},"
            f" in the archive {_told(wanted.archive_retain_days)}"
        )
        await audit_log.note(connection, visit.email, visit.app.id, "changed the settings", told)
        return changed

    if await visit.services.kept.change(work) is None:
        raise not_found()
    return Elsewhere(f"/apps/{visit.app.id}/settings")


def _days(visit: Visit, name: str, before: int | None) -> int | None:
    """Return what a form has for days, AS_SERVER for nothing; None for what is no number of days.

    A form without the field leaves it as it is.
    """
    if name not in visit.form:
        return AS_SERVER if before is None else before
    text = visit.form[name].strip()
    if not text:
        return AS_SERVER
    least = -1 if name == "archive_retain_days" else 0
    is_number = text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= _DIGITS_MAX
    return int(text) if is_number and least <= int(text) <= app_settings.DAYS_MAX else None


def _told(days: int | None) -> str:
    """Return a number of days in words."""
    if days is None:
        return "as configured"
    return {0: "for ever", -1: "as long as in Postgres"}.get(days, f"{days} days")


def _mistake(user_field: str, zone: str, colour: str) -> str:
    """Return what is wrong with what holds for an app; empty for nothing."""
    if not is_name(user_field):
        return _USER_FIELD
    if not app_settings.is_zone(zone):
        return _ZONE
    return "" if colour in app_settings.COLOURS else _COLOUR


def is_name(text: str) -> bool:
    """Return whether something may be called so."""
    return 0 < len(text) <= NAME_CHARS_MAX and text.isprintable()


ROUTES: Final = (
    Route("GET", "/apps", Access.SIGNED_IN, show_all),
    Route("POST", "/apps", Access.ADMIN, create),
    Route("GET", "/apps/{app}/settings", Access.VIEWER, show_settings),
    Route("POST", "/apps/{app}/settings", Access.OWNER, change_settings),
)
