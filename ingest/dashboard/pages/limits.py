"""How much an app may send, and how much a key of it may: shown to all, set by its owners."""

from collections.abc import Mapping
from typing import Final

from ingest.dashboard.problems import not_found
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.metering import rate_limits
from ingest.metering.rate_limits import NAMES, BadRateLimit, RateLimits
from ingest.store import api_keys, audit_log, day_uses, kept_limits
from ingest.store.api_keys import ApiKey
from ingest.store.day_uses import Used
from ingest.store.postgres import Connection

_TYPED_CHARS_MAX: Final = 40


async def show_app(visit: Visit) -> Reply:
    """Show how much all keys of an app may send together."""
    return await _page(visit, None)


async def show_key(visit: Visit) -> Reply:
    """Show how much a key may send."""
    return await _page(visit, await _key(visit))


async def _page(
    visit: Visit, key: ApiKey | None, error: str = "", typed: Mapping[str, str] | None = None
) -> Page:
    app, key_id = visit.app, key.id if key else 0

    async def work(connection: Connection) -> tuple[RateLimits, Used]:
        of_apps = await kept_limits.of_apps(connection)
        limits = key.rate_limits if key else of_apps.get(app.id, RateLimits())
        return limits, await day_uses.used_today(connection, app.id, key_id, app.timezone)

    limits, used = await visit.services.kept.read(work)
    values = {
        "key": key,
        "limits": limits,
        "used": used,
        "typed": typed or _as_typed(limits),
        "error": error,
    }
    return Page("limits.html", values, 422 if error else 200)


def _as_typed(limits: RateLimits) -> Mapping[str, str]:
    amounts = {name: getattr(limits, name) for name in NAMES}
    return {name: "" if amount is None else str(amount) for name, amount in amounts.items()}


async def change_app(visit: Visit) -> Reply:
    """Hold all keys of an app together to what is typed; servers follow within a second."""
    return await _change(visit, None)


async def change_key(visit: Visit) -> Reply:
    """Hold a key to what is typed."""
    return await _change(visit, await _key(visit))


async def _change(visit: Visit, key: ApiKey | None) -> Reply:
    typed = {name: visit.form.get(name, "")[:_TYPED_CHARS_MAX] for name in NAMES}
    try:
        wanted = rate_limits.read(typed)
    except BadRateLimit as mistake:
        return await _page(visit, key, str(mistake), typed)
    app = visit.app

    async def work(connection: Connection) -> bool:
        if key is None:
            await kept_limits.set_of_app(connection, app.id, wanted)
        elif await api_keys.limit_rates(connection, app.id, key.id, wanted) is None:
            return False
        whose = f"{key.prefix}… {key.name}" if key else app.name
        told = f"{whose}: {', '.join(wanted.words) or 'none'}"
        await audit_log.note(connection, visit.email, app.id, "changed limits", told)
        return True

    if not await visit.services.kept.change(work):
        raise not_found()
    return Elsewhere(f"/apps/{app.id}/{'keys' if key else 'limits'}")


async def _key(visit: Visit) -> ApiKey:
    """Return the key that a path names, one that writes and is valid; raise Problem."""
    app_id, key_id = visit.app.id, visit.number
    found = await visit.services.kept.read(lambda each: api_keys.find_writing(each, app_id, key_id))
    if found is None:
        raise not_found()
    return found


ROUTES: Final = (
    Route("GET", "/apps/{app}/limits", Access.VIEWER, show_app),
    Route("POST", "/apps/{app}/limits", Access.OWNER, change_app),
    Route("GET", "/apps/{app}/keys/write/{number}/limits", Access.VIEWER, show_key),
    Route("POST", "/apps/{app}/keys/write/{number}/limits", Access.OWNER, change_key),
)
