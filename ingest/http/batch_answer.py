"""What came of a batch, as an answer: all stored, some, or none."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from ingest.delivery.outcome import Ack, Duplicate
from ingest.errors import Code, Refusal
from ingest.events.drafts import Drafts
from ingest.events.row_json import CLOSE, OPEN
from ingest.http.preferences import APPLIED, RESPOND_ASYNC, Preferences
from ingest.http.responses import refuse, succeed
from ingest.http.waiters import Outcomes

_PARTIAL: Final = 207
_SERVER_ERRORS: Final = 500
_DUPLICATE: Final = b',"duplicate":true}'

Errors = Mapping[int, Refusal]
"""Refused events by their index in the document."""

NOT_YET: Final = Outcomes({}, is_spooled=True)
"""For an answer before anything is known."""


def describe(drafts: Drafts, outcomes: Outcomes, preferred: Preferences) -> web.Response:
    """Return the answer to a batch."""
    refused = {
        index: outcome
        for index, outcome in outcomes.uncommon.items()
        if isinstance(outcome, Refusal)
    }
    errors = drafts.refusals | refused
    count = len(drafts.rows) - len(errors)
    if not count:
        return _refuse_all(errors)
    headers = _applied(preferred)
    if errors:
        content = _content(drafts, outcomes, count) | {"errors": _listed(errors)}
        return succeed(orjson.dumps({"status": "partial", **content}), _PARTIAL, headers)
    status = Ack.SPOOLED.value if _is_spooled(outcomes) else Ack.COMMITTED.value
    if not drafts.wants_stored:
        return succeed(b'{"status":"success","count":%d}' % count, status, headers)
    rows = _rows(drafts, outcomes) if outcomes.uncommon else drafts.stored
    return succeed(b"%b%b%b" % (OPEN, b",".join(rows), CLOSE), status, headers)


def _content(drafts: Drafts, outcomes: Outcomes, count: int) -> dict[str, Any]:
    if not drafts.wants_stored:
        return {"count": count}
    return {"data": orjson.Fragment(_array(_rows(drafts, outcomes)))}


def _rows(drafts: Drafts, outcomes: Outcomes) -> list[bytes]:
    """Return what is stored as JSON."""
    stored = drafts.stored.copy()
    for index, outcome in outcomes.uncommon.items():
        stored[index] = outcome.row[:-1] + _DUPLICATE if isinstance(outcome, Duplicate) else b""
    return [row for row in stored if row]


def _is_spooled(outcomes: Outcomes) -> bool:
    duplicates = (
        outcome for outcome in outcomes.uncommon.values() if isinstance(outcome, Duplicate)
    )
    return outcomes.is_spooled or any(outcome.ack is Ack.SPOOLED for outcome in duplicates)


def _array(rows: list[bytes]) -> bytes:
    return b"[%b]" % b",".join(rows)


def _listed(errors: Errors) -> list[dict[str, Any]]:
    return [
        {"index": index, "code": refusal.code, "message": refusal.message}
        for index, refusal in sorted(errors.items())
    ]


def _refuse_all(errors: Errors) -> web.Response:
    """Answer a batch of which nothing is stored: the server's fault where any of them is."""
    worst = max(errors.values(), key=lambda refusal: refusal.status)
    if worst.status >= _SERVER_ERRORS:
        total = Refusal(worst.code, "No event of the batch is known to be stored; see errors.")
    else:
        total = Refusal(Code.INVALID_BATCH, "No event of the batch is a good one; see errors.")
    response = refuse(total)
    error = {"code": total.code, "message": total.message}
    response.body = orjson.dumps({"status": "error", "error": error, "errors": _listed(errors)})
    return response


def _applied(preferred: Preferences) -> dict[str, str]:
    applied = [RESPOND_ASYNC] if preferred.is_async else []
    if preferred.is_minimal:
        applied.append("return=minimal")
    return {APPLIED: ", ".join(applied)} if applied else {}
