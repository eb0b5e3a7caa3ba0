"""Rejected events of an app: read, mended, stored after all, or dropped; nobody else's."""

import asyncio
from collections import Counter
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from ingest.dashboard import advice
from ingest.dashboard.problems import Problem, not_found
from ingest.dashboard.replies import Elsewhere, Page, Reply
from ingest.dashboard.routes import Access, Route, Sends, Visit
from ingest.dashboard.text import shown, shown_json
from ingest.delivery.events_table import EVENTS
from ingest.errors import Code, Refusal
from ingest.events import event
from ingest.http.budget import too_large
from ingest.store import audit_log, rejected, rejected_of_app
from ingest.store.failures import Outage, Unavailable
from ingest.store.postgres import Connection
from ingest.store.rejected import Listed, Retried, RetryResult
from ingest.store.rejected_of_app import COUNTED_MAX, Line

_PAGE: Final = 50
_BATCH: Final = 100
_BATCH_S: Final = 5.0
"""So long one request goes on to try; one event may take as long once more."""
_REASONS_SHOWN: Final = 10
_REASON_CHARS_SHOWN: Final = 160
_TOLD: Final = {
    "stored": "It is stored now.",
    "already": "It was stored already: that is as it was, and the rejected one is gone.",
    "dropped": "It is dropped.",
    "refused": "Postgres refused it again; why is said below.",
    "mended": "It is mended, and waits to be stored.",
}
"""What became of an event, by what the address says."""
_NO_OBJECT: Final = "The parameters must be a JSON object, {} if there are none."


async def show(visit: Visit) -> Reply:
    """List them, the newest first."""
    app_id, before = visit.app.id, _id(visit.request.query.get("before", ""))

    async def work(connection: Connection) -> tuple[list[Line], int]:
        lines = await rejected_of_app.page(connection, app_id, _PAGE + 1, before)
        return lines, await rejected_of_app.count(connection, app_id)

    lines, count = await visit.services.kept.read(work)
    older = lines[_PAGE - 1].id if len(lines) > _PAGE else None
    values = {"lines": lines[:_PAGE], "count": count, "is_more": count >= COUNTED_MAX}
    return Page("rejected.html", values | {"older": older, "why": advice.why, "told": _told(visit)})


async def show_one(visit: Visit) -> Reply:
    """Show one in full, and a form that mends it."""
    return _one(visit, await _found(visit))


def _one(visit: Visit, found: Listed, typed: "_Typed | None" = None, error: str = "") -> Page:
    kept = found.rejected
    values = {
        "id": kept.id,
        "name": shown(typed.name) if typed else shown(kept.event["event_name"]),
        "params": shown_json(typed.params if typed else kept.event["event_params"]),
        "name_chars_max": visit.services.config.limits.event_name_chars_max,
        "received_at": _time(kept.event["created_at"]),
        "happened_at": _time(kept.event["timestamp"]),
        "has_key": kept.event["idempotency_key"] is not None,
        "rejected_at": found.rejected_at,
        "why": advice.why(kept.sqlstate, kept.named),
        "what_to_do": advice.what_to_do(kept.sqlstate),
        "message": kept.message,
        "error": error,
        "told": "" if error else _told(visit),
    }
    return Page("rejected_event.html", values, 422 if error else 200)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


async def mend(visit: Visit) -> Reply:
    """Give one another name and other parameters, and store it if that is asked for."""
    found, app_id = await _found(visit), visit.app.id
    event_id, typed = found.rejected.id, _typed(visit, found)
    try:
        _check(visit, typed)
    except Refusal as refusal:
        return _one(visit, found, typed, refusal.message)

    async def work(connection: Connection) -> None:
        if not await rejected_of_app.mend(connection, app_id, event_id, *typed):
            raise not_found()
        await _note(connection, visit, "mended a rejected event", str(event_id))

    await visit.services.kept.change(work)
    if visit.form.get("then") == "retry":
        return await retry(visit)
    return Elsewhere(f"{_address(visit)}/{event_id}?became=mended")


async def retry(visit: Visit) -> Reply:
    """Try to store one."""
    event_id = (await _found(visit)).rejected.id
    await visit.services.kept.change(
        lambda each: _note(each, visit, "retried a rejected event", str(event_id))
    )
    try:
        tried = await _retried(visit, event_id)
    except Unavailable as failure:
        told = f"Postgres said: {failure.named_reason}. The event is kept as it is."
        raise Problem(503, "It could not be tried", told, {"Retry-After": "2"}) from failure
    match tried.result:
        case RetryResult.STORED:
            return Elsewhere(f"{_address(visit)}?became=stored")
        case RetryResult.ALREADY_STORED:
            return Elsewhere(f"{_address(visit)}?became=already")
        case RetryResult.REFUSED:
            return Elsewhere(f"{_address(visit)}/{event_id}?became=refused")
        case RetryResult.NOT_FOUND:
            raise not_found()


async def retry_all(visit: Visit) -> Reply:
    """Try to store the next of an app: so many, and for so long, as a request may take."""
    app_id, kept = visit.app.id, visit.services.kept
    after = _id(visit.form.get("after", ""))
    ids = await kept.read(lambda each: rejected_of_app.ids(each, app_id, _BATCH, after))
    if ids:
        told = f"{len(ids)} at most, from {ids[0]} to {ids[-1]}"
        await kept.change(lambda each: _note(each, visit, "retried rejected events", told))
    batch = _Batch(after)
    end_s = asyncio.get_running_loop().time() + _BATCH_S
    for each in ids:
        if asyncio.get_running_loop().time() >= end_s or not await batch.go_on(visit, each):
            break
    left = await kept.read(lambda each: rejected_of_app.count(each, app_id, batch.last))
    values = {"batch": batch, "left": left, "is_more": left >= COUNTED_MAX}
    return Page("retried.html", values | {"reasons_max": _REASONS_SHOWN})


class _Batch:
    """What became of events that were tried one after the other."""

    def __init__(self, last: UUID | None) -> None:
        self.last = last
        """The last one that was tried."""
        self.results: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        """Of those that are still there."""
        self.trouble = ""
        """Why it ended early."""

    async def go_on(self, visit: Visit, event_id: UUID) -> bool:
        """Try another one; return whether it is of use to go on."""
        try:
            tried = await _retried(visit, event_id)
        except Unavailable as failure:
            if failure.outage is not Outage.FAILING:
                self.trouble = failure.named_reason
                return False
            # It may be this one alone, such as one for which a trigger waits: the others go on.
            tried = Retried(event_id, RetryResult.REFUSED, failure.named_reason)
        self.last = event_id
        self.results[tried.result.value] += 1
        if tried.reason:
            self.reasons[_shortened(tried.reason)] += 1
        return True


def _shortened(reason: str) -> str:
    """Return a reason as a list has it: what follows may quote the event, and be of no other."""
    is_long = len(reason) > _REASON_CHARS_SHOWN
    return f"{reason[:_REASON_CHARS_SHOWN]}…" if is_long else reason


async def _retried(visit: Visit, event_id: UUID) -> Retried:
    """Try one by itself, so that others who wait for the connection have it in between."""
    app_id = visit.app.id

    async def work(connection: Connection) -> Retried:
        tries = rejected.retry(connection, EVENTS, [event_id], app_id=app_id)
        (tried,) = [each async for each in tries]
        return tried

    return await visit.services.kept.do(work)


async def confirm(visit: Visit) -> Reply:
    """Ask whether one is to be dropped."""
    found = (await _found(visit)).rejected
    return Page("drop.html", {"id": found.id, "name": found.event["event_name"]})


async def drop(visit: Visit) -> Reply:
    """Drop one for good."""
    event_id, app_id = UUID(visit.parts[0]), visit.app.id

    async def work(connection: Connection) -> None:
        if not await rejected.drop(connection, [event_id], app_id=app_id):
            raise not_found()
        await _note(connection, visit, "dropped a rejected event", str(event_id))

    await visit.services.kept.change(work)
    return Elsewhere(f"{_address(visit)}?became=dropped")


class _Typed(NamedTuple):
    """What a form has, or what is kept where that was not touched."""

    name: str
    params: str


def _typed(visit: Visit, found: Listed) -> _Typed:
    """Return it: a browser gives back other line breaks than it was given."""
    kept = found.rejected.event
    name, params = (_normal(visit.form.get(field, "")) for field in ("name", "params"))
    return _Typed(
        kept["event_name"] if name == shown(kept["event_name"]) else name,
        kept["event_params"] if params == _normal(shown_json(kept["event_params"])) else params,
    )


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check(visit: Visit, typed: _Typed) -> None:
    """Raise Refusal for what no client could send either."""
    limits, params = visit.services.config.limits, typed.params.strip().encode()
    body = orjson.dumps({"event_name": typed.name, "event_params": orjson.Fragment(params)})
    if len(body) > limits.body_bytes_max:
        raise too_large(limits.body_bytes_max)
    _, found, more = event.decode(body, limits.event_name_chars_max)
    if found != params or more is not None:
        raise Refusal(Code.INVALID_EVENT_PARAMS, _NO_OBJECT)


async def _found(visit: Visit) -> Listed:
    app_id, event_id = visit.app.id, UUID(visit.parts[0])
    found = await visit.services.kept.read(
        lambda each: rejected_of_app.find(each, EVENTS, app_id, event_id)
    )
    if found is None:
        raise not_found()
    return found


async def _note(connection: Connection, visit: Visit, action: str, told: str) -> None:
    await audit_log.note(connection, visit.email, visit.app.id, action, told)


def _address(visit: Visit) -> str:
    return f"/apps/{visit.app.id}/rejected"


def _told(visit: Visit) -> str:
    return _TOLD.get(visit.request.query.get("became", ""), "")


def _id(text: str) -> UUID | None:
    """Return an id of an address or a form; None for none."""
    try:
        return UUID(text) if text else None
    except ValueError:
        raise not_found() from None


ROUTES: Final = (
    Route("GET", "/apps/{app}/rejected", Access.MEMBER, show),
    Route("POST", "/apps/{app}/rejected/retry", Access.MEMBER, retry_all),
    Route("GET", "/apps/{app}/rejected/{id}", Access.MEMBER, show_one),
    Route("POST", "/apps/{app}/rejected/{id}/mend", Access.MEMBER, mend, Sends.EVENT),
    Route("POST", "/apps/{app}/rejected/{id}/retry", Access.MEMBER, retry),
    Route("GET", "/apps/{app}/rejected/{id}/drop", Access.MEMBER, confirm),
    Route("POST", "/apps/{app}/rejected/{id}/drop", Access.MEMBER, drop),
)
