"""What came of a batch, as an answer: all stored, some, or none."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from ingest.delivery.outcome import Ack, Duplicate, Outcome
from ingest.errors import Code, Refusal
from ingest.events.drafts import Drafts
from ingest.events.row_json import CLOSE, OPEN
from ingest.http.duplicates import Known, known
from ingest.http.preferences import Preferences
from ingest.http.responses import refuse, status_of, succeed
from ingest.http.rows_body import RowsBody, rows_body
from ingest.http.waiters import Outcomes

_ACCEPTED: Final = 202
_PARTIAL: Final = 207
_SERVER_ERRORS: Final = 500
_ENDS: Final[Mapping[Known, bytes]] = {
    Known.STORED: b',"duplicate":true}',
    Known.DIFFERENT: b',"duplicate":"different"}',
    Known.UNSURE: b',"duplicate":null}',
}
"""How the row of an uncommon event ends, by whether it was stored before."""

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
    count = drafts.count - len(errors)
    if not count:
        return _refuse_all(errors)
    headers = preferred.applied
    if errors:
        return succeed(_partial(drafts, outcomes, count, errors), _PARTIAL, headers)
    status = status_of(Ack.SPOOLED if _is_spooled(outcomes) else Ack.COMMITTED)
    if not drafts.wants_stored:
        return succeed(b'{"status":"success","count":%d}' % count, status, headers)
    return succeed(rows_body(OPEN, _rows(drafts, outcomes), CLOSE), status, headers)


def _partial(drafts: Drafts, outcomes: Outcomes, count: int, errors: Errors) -> bytes | RowsBody:
    listed = orjson.dumps(_listed(errors))
    if not drafts.wants_stored:
        return b'{"status":"partial","count":%d,"errors":%b}' % (count, listed)
    rows = _rows(drafts, outcomes)
    return rows_body(b'{"status":"partial","data":[', rows, b'],"errors":%b}' % listed)


def _rows(drafts: Drafts, outcomes: Outcomes) -> list[bytes]:
    """Return what is stored as JSON."""
    stored = drafts.stored
    for index, outcome in outcomes.uncommon.items():
        stored[index] = _row(stored[index], outcome)
    return [row for row in stored if row]


def _row(sent: bytes, outcome: Outcome) -> bytes:
    """Return the row of an event as JSON; nothing for a refused one."""
    if isinstance(outcome, Refusal):
        return b""
    row = outcome.row if isinstance(outcome, Duplicate) else sent
    return row[:-1] + _ENDS[known(outcome)]


def _is_spooled(outcomes: Outcomes) -> bool:
    return outcomes.is_spooled or any(
        not isinstance(outcome, Refusal) and status_of(outcome) == _ACCEPTED
        for outcome in outcomes.uncommon.values()
    )


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
