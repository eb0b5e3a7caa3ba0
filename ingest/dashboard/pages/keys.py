"""API keys of an app, of both kinds: made, shown once, replaced and revoked."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from ingest.dashboard.forms import Form
from ingest.dashboard.pages.apps import NAME_CHARS_MAX
from ingest.dashboard.problems import Problem, not_found
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.store import api_keys, audit_log, kept_limits, key_limits
from ingest.store.api_keys import ApiKey, Kind
from ingest.store.key_limits import BadLimit, KeyLimits
from ingest.store.postgres import Connection
from ingest.store.tokens import digest

_DAYS_MAX: Final = 36_500
_OVERLAP_HOURS: Final = 24
_FIELDS: Final = ("name", "kind", "days", "origins", "event_names")
_VALID_MAX: Final = 500
_TYPED_CHARS_MAX: Final = key_limits.EACH_MAX * (key_limits.CHARS_MAX + 2)
"""So much of a field is there again behind a mistake."""
_NAME: Final = f"A label has {NAME_CHARS_MAX} characters at most."
_DAYS: Final = f"Write in how many days it expires, 1 to {_DAYS_MAX:,}, or nothing."

_LIMITS: Final = "Origins and event names are for a key that sends events; leave them empty."


async def show(visit: Visit) -> Reply:
    """List the keys."""
    return await _page(visit)


async def _page(
    visit: Visit, secret: str = "", error: str = "", typed: Mapping[str, str] | None = None
) -> Page:
    app_id = visit.app.id
    found = await visit.services.kept.read(lambda each: api_keys.list_of(each, app_id))
    values = {
        "keys": found,
        "secret": secret,
        "error": error,
        "typed": {name: (typed or {}).get(name, "")[:_TYPED_CHARS_MAX] for name in _FIELDS},
        "overlap_hours": _OVERLAP_HOURS,
        "each_max": key_limits.EACH_MAX,
    }
    return Page("keys.html", values, 422 if error else 200)


async def create(visit: Visit) -> Reply:
    """Make a key; the answer is the page that shows it."""
    try:
        wanted = _read(visit.form)
    except (_Mistake, BadLimit) as mistake:
        return await _page(visit, error=str(mistake), typed=visit.form)
    return await _page(visit, await make(visit, wanted))


class _Mistake(ValueError):  # noqa: N818 - of whoever typed it
    """What was typed makes no key; says why."""


class Wanted(NamedTuple):
    """A key to be made."""

    kind: Kind
    name: str
    days: int | None
    limits: KeyLimits | None


def _read(form: Form) -> Wanted:
    """Return which key is wanted; raise _Mistake or BadLimit."""
    name, days = form.get("name", "").strip(), form.get("days", "").strip()
    if len(name) > NAME_CHARS_MAX or not f"{name}-".isprintable():
        raise _Mistake(_NAME)
    if days and not _are_days(days):
        raise _Mistake(_DAYS)
    kind = _kind(form.get("kind", ""))
    limits = key_limits.read(_listed(form, "origins"), _listed(form, "event_names"))
    if limits is not None and kind is Kind.READ:
        raise _Mistake(_LIMITS)
    return Wanted(kind, name, int(days) if days else None, limits)


def _listed(form: Form, name: str) -> list[str]:
    """Return what was typed into a field, on lines or with commas between."""
    texts = form.get(name, "").replace(",", "\n").splitlines()
    return [text for text in texts if text.strip()]


async def make(visit: Visit, wanted: Wanted) -> str:
    """Make a key of the app of a visit; return its secret. Raises Problem."""
    app = visit.app

    async def work(connection: Connection) -> str:
        if await api_keys.count_valid(connection, app.id) >= _VALID_MAX:
            raise Problem(422, "This app has too many keys", "Revoke those that nobody needs.")
        kind, name, days, limits = wanted
        secret = await api_keys.create(connection, app.name, name, days, kind, limits)
        limited = " with limits" if limits is not None else ""
        told = f"{secret[: api_keys.PREFIX_CHARS]}… {name}{limited}"
        await audit_log.note(connection, visit.email, app.id, "made a key", told)
        return secret

    return await visit.services.kept.change(work)


async def rotate(visit: Visit) -> Reply:
    """Make a key in another one's place, with its limits; that one is valid for a day yet."""
    kind, key_id = _kind(visit.parts[0]), int(visit.parts[1])
    app = visit.app

    async def work(connection: Connection) -> str:
        before = await api_keys.let_expire(connection, app.id, kind, key_id, _OVERLAP_HOURS)
        if before is None:
            raise not_found()
        secret = await api_keys.create(
            connection, app.name, before.name, _days(before), kind, before.limits
        )
        if before.rate_limits:
            await kept_limits.set_of_key(connection, digest(secret), before.rate_limits)
        told = f"{before.prefix}… by {secret[: api_keys.PREFIX_CHARS]}…"
        await audit_log.note(connection, visit.email, app.id, "replaced a key", told)
        return secret

    return await _page(visit, await visit.services.kept.change(work))


async def revoke(visit: Visit) -> Reply:
    """Revoke a key; servers refuse it within a second."""
    kind, key_id = _kind(visit.parts[0]), int(visit.parts[1])
    app = visit.app

    async def work(connection: Connection) -> ApiKey | None:
        found = await api_keys.revoke_one(connection, app.id, kind, key_id)
        if found is not None:
            told = f"{found.prefix}… {found.name}"
            await audit_log.note(connection, visit.email, app.id, "revoked a key", told)
        return found

    if await visit.services.kept.change(work) is None:
        raise not_found()
    return Elsewhere(f"/apps/{app.id}/keys")


def _are_days(text: str) -> bool:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_DAYS_MAX))
    return is_number and 1 <= int(text) <= _DAYS_MAX


def _days(before: ApiKey) -> int | None:
    """Return how long a key was made for."""
    if before.expires_at is None:
        return None
    return max(1, round((before.expires_at - before.created_at) / timedelta(days=1)))


def _kind(text: str) -> Kind:
    return Kind.READ if text == Kind.READ.value else Kind.WRITE


ROUTES: Final = (
    Route("GET", "/apps/{app}/keys", Access.VIEWER, show),
    Route("POST", "/apps/{app}/keys", Access.MEMBER, create),
    Route("POST", "/apps/{app}/keys/{kind}/{number}/rotate", Access.MEMBER, rotate),
    Route("POST", "/apps/{app}/keys/{kind}/{number}/revoke", Access.MEMBER, revoke),
)
