"""What came of a batch, as an answer: all stored, some, or none."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from ingest.errors import Code, Refusal
from ingest.http.preferences import APPLIED, RESPOND_ASYNC, Preferences
from ingest.http.responses import refuse, succeed
from ingest.pipeline.answer import CLOSE, OPEN
from ingest.pipeline.fate import Ack, Duplicate, Fate
from ingest.pipeline.intake import Draft

Errors = dict[int, Refusal]
"""Refused events by their index in the document."""

_PARTIAL: Final = 207
_SERVER_ERRORS: Final = 500
_DUPLICATE: Final = b',"duplicate":true}'


def describe(
    drafts: Mapping[int, Draft],
    fates: Mapping[int, Fate] | None,
    errors: Errors,
    preferred: Preferences,
) -> web.Response:
    """Return the answer; `fates` has those that are not simply committed, None is "not yet"."""
    uncommon = fates or {}
    errors |= {index: fate for index, fate in uncommon.items() if isinstance(fate, Refusal)}
    rows = _rows(drafts, uncommon) if uncommon else [row for _, row, _ in drafts.values()]
    if not rows:
        return _refuse_all(errors)
    headers = _applied(preferred)
    is_minimal = preferred.content == "minimal"
    if errors:
        content = {"count": len(rows)} if is_minimal else {"data": orjson.Fragment(_array(rows))}
        body = {"status": "partial", **content, "errors": _listed(errors)}
        return succeed(orjson.dumps(body), _PARTIAL, headers)
    is_spooled = fates is None or any(map(_is_spooled, uncommon.values()))
    status = Ack.SPOOLED.value if is_spooled else Ack.COMMITTED.value
    if is_minimal:
        return succeed(b'{"status":"success","count":%d}' % len(rows), status, headers)
    return succeed(b"%b%b%b" % (OPEN, b",".join(rows), CLOSE), status, headers)


def _rows(drafts: Mapping[int, Draft], fates: Mapping[int, Fate]) -> list[bytes]:
    """Return what is stored as JSON."""
    stored = (_row(draft, fates.get(index)) for index, draft in drafts.items())
    return [row for row in stored if row]


def _row(draft: Draft, fate: Fate | None) -> bytes:
    """Return a stored event as JSON; nothing for one that was refused after all."""
    if isinstance(fate, Refusal):
        return b""
    if isinstance(fate, Duplicate):
        return fate.row[:-1] + _DUPLICATE
    return draft[1]


def _is_spooled(fate: Fate) -> bool:
    return fate is Ack.SPOOLED or (isinstance(fate, Duplicate) and fate.ack is Ack.SPOOLED)


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
    if preferred.content == "minimal":
        applied.append("return=minimal")
    return {APPLIED: ", ".join(applied)} if applied else {}
