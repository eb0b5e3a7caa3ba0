"""Answers laid beside their requests: what each event of one got goes into the history.

A single event's answer and each row of a batch's must be the event's own, byte for byte, in the
order in which the events were sent. A batch may be stored in parts (207), and the rows do not say
whether in Postgres or in the spool: they are noted as 202, which allows both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from bench.audit.recorder import Recorder
from bench.audit.workload import SentEvent
from ingest.errors import Code, Refusal

Request = tuple[SentEvent, ...]
"""What one HTTP request carries: an event, or several as a batch."""

_PARTIAL: Final = 207
_ACKS: Final = {200: 200, 202: 202, _PARTIAL: 202}
"""Of answers that acknowledge something: as which their rows are noted."""
_OPENS: Final = (b'{"status":"success","data":[', b'{"status":"partial","data":[')
_CLOSE: Final = b"]}"
_ROW: Final = b'{"id":"'
_ID_CHARS: Final = 36
_CREATED_AT_CHARS: Final = len("2026-01-10T12:00:00.123Z")
_ROW_END: Final = b'"}'
_SERVER_ERRORS: Final = 500
_UNKNOWN_WORDS: Final = "may or may not"


class Error(NamedTuple):
    """Why an event was refused."""

    status: int
    code: str
    message: str


Errors = Mapping[int, Error]
"""By the event's place in its batch."""


def file_answer(recorder: Recorder, request: Request, status: int, body: bytes) -> str | None:
    """Note what each event was answered with; return the id of the first that was acknowledged.

    An answer, or a row in it, that is not the event's own is noted as mixed.
    """
    try:
        errors = _read_errors(request, status, body)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        _mix(recorder, request, body)
        return None
    for index, error in errors.items():
        _file_refusal(recorder, request[index], error)
    acked = [event for index, event in enumerate(request) if index not in errors]
    return _file_rows(recorder, acked, _ACKS[status], body) if acked else None


def _read_errors(request: Request, status: int, body: bytes) -> Errors:
    """Return who was refused; raise what orjson does, KeyError, TypeError or ValueError."""
    if status in _ACKS and status != _PARTIAL:
        return {}
    answer = orjson.loads(body)
    if status != _PARTIAL and "errors" not in answer:
        whole = Error(status, str(answer["error"]["code"]), str(answer["error"]["message"]))
        return dict.fromkeys(range(len(request)), whole)
    errors = {int(each["index"]): _read_error(each) for each in answer["errors"]}
    if len(errors) != len(answer["errors"]) or not errors.keys() <= set(range(len(request))):
        raise ValueError("errors of events that were not sent")
    if (len(errors) == len(request)) == (status == _PARTIAL):
        raise ValueError("errors of all events, or not of all")
    return errors


def _read_error(found: Mapping[str, Any]) -> Error:
    """Return an event's own error; its status is what a single event would have got."""
    return Error(Refusal(Code(found["code"]), "").status, found["code"], str(found["message"]))


def _file_refusal(recorder: Recorder, event: SentEvent, error: Error) -> None:
    if error.status >= _SERVER_ERRORS and _UNKNOWN_WORDS in error.message:
        recorder.unknown(event.token, f"{error.status} {error.code}")
    else:
        recorder.refused(event.token, error.status, error.code)


def _file_rows(
    recorder: Recorder, acked: Sequence[SentEvent], status: int, body: bytes
) -> str | None:
    """Note what was acknowledged, row by row; return the first id."""
    first, start = None, len(_OPENS[0])
    is_whole = body.startswith(_OPENS) and body.endswith(_CLOSE)
    for number, event in enumerate(acked, 1):
        closing = b"," if number < len(acked) else b"]"
        row = _AnsweredRow(body, start, event.echo, closing)
        if not (is_whole and row.is_own):
            _mix(recorder, acked[number - 1 :], body)
            break
        recorder.answered(event.token, status, row.id, row.created_at)
        first, start = first or row.id, row.end
    return first


class _AnsweredRow:
    """A row that should stand at `start` and be followed by `closing`."""

    def __init__(self, body: bytes, start: int, echo: bytes, closing: bytes) -> None:
        id_start = start + len(_ROW)
        echo_start = id_start + _ID_CHARS
        time_start = echo_start + len(echo)
        time_end = time_start + _CREATED_AT_CHARS
        self.end = time_end + len(_ROW_END + closing)
        self.id = body[id_start:echo_start].decode("ascii", "replace")
        self.created_at = body[time_start:time_end].decode("ascii", "replace")
        parts = (body[start:id_start], body[echo_start:time_start], body[time_end : self.end])
        self.is_own = parts == (_ROW, echo, _ROW_END + closing)


def _mix(recorder: Recorder, events: Sequence[SentEvent], body: bytes) -> None:
    for event in events:
        recorder.mixed(event.token, body)
