"""Answers laid beside their requests: what each event of one got goes into the history.

A single event's answer and each row of a batch's must be the event's own, byte for byte, in the
order in which the events were sent; or else they say that it was sent before, and then the row is
noted as it came, for the checker to lay it beside what is stored. A batch may be stored in parts
(207), and the rows do not say whether in Postgres or in the spool: they are noted as 202, which
allows both.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import orjson

from bench.audit.recorder import Recorder
from bench.audit.workload import GOOD, Request, SentEvent
from ingest.errors import Code, Refusal

_PARTIAL: Final = 207
_COMMITTED: Final = 200
_ACKS: Final = {_COMMITTED: 200, 202: 202, _PARTIAL: 202}
"""Of answers that acknowledge something: as which their rows are noted."""
_OPENS: Final = (b'{"status":"success","data":[', b'{"status":"partial","data":[')
_CLOSE: Final = b"]}"
_ROW: Final = b'{"id":"'
_ID_CHARS: Final = 36
_CREATED_AT_CHARS: Final = len("2026-01-10T12:00:00.123Z")
_DUPLICATE: Final = b"nonito-duplicate: "
_IN_BATCH: Final = "duplicate"
"""Of a row: true, or null where only Postgres knows."""
_SERVER_ERRORS: Final = 500
_UNKNOWN_WORDS: Final = "may or may not"


class Error(NamedTuple):
    """Why an event was refused."""

    status: int
    code: str
    message: str


_scan: Final = json.JSONDecoder(parse_float=Decimal).raw_decode

Errors = Mapping[int, Error]
"""By the event's place in its batch."""


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    head: bytes
    body: bytes

    @property
    def duplicate(self) -> bytes:
        """What the header of retries says; empty for none."""
        found = self.head.lower().partition(_DUPLICATE)[2]
        return found.partition(b"\r")[0].strip()


def file_answer(recorder: Recorder, request: Request, answer: Answer) -> str | None:
    """Note what each event was answered with; return the id of the first that was acknowledged.

    An answer, or a row in it, that is not the event's own is noted as mixed.
    """
    events = request.events
    try:
        errors = _read_errors(events, answer.status, answer.body)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        _mix(recorder, events, answer.body)
        return None
    for index, error in errors.items():
        _file_refusal(recorder, events[index], error)
    acked = [event for index, event in enumerate(events) if index not in errors]
    return _Rows(recorder, request, answer).file(acked) if acked else None


def _read_errors(events: Sequence[SentEvent], status: int, body: bytes) -> Errors:
    """Return who was refused; raise what orjson does, KeyError, TypeError or ValueError."""
    if status in _ACKS and status != _PARTIAL:
        return {}
    answer = orjson.loads(body)
    if status != _PARTIAL and "errors" not in answer:
        whole = Error(status, str(answer["error"]["code"]), str(answer["error"]["message"]))
        return dict.fromkeys(range(len(events)), whole)
    errors = {int(each["index"]): _read_error(each) for each in answer["errors"]}
    if len(errors) != len(answer["errors"]) or not errors.keys() <= set(range(len(events))):
        raise ValueError("errors of events that were not sent")
    if (len(errors) == len(events)) == (status == _PARTIAL):
        raise ValueError("errors of all events, or not of all")
    return errors


def _read_error(found: Mapping[str, Any]) -> Error:
    """Return an event's own error; its status is what a single event would have got."""
    return Error(Refusal(Code(found["code"]), "").status, found["code"], str(found["message"]))


def _file_refusal(recorder: Recorder, event: SentEvent, error: Error) -> None:
    if error.status >= _SERVER_ERRORS and _UNKNOWN_WORDS in error.message:
        recorder.unknown(event.label, f"{error.status} {error.code}")
    else:
        recorder.refused(event.label, error.status, error.code)


class _Rows:
    """The rows of an answer, one after the other."""

    def __init__(self, recorder: Recorder, request: Request, answer: Answer) -> None:
        self._recorder = recorder
        self._body = answer.body
        self._is_early = request.is_async
        self._status = _ACKS[answer.status]
        # In a batch each row speaks for itself.
        self._header = answer.duplicate if request.events[0].claim else b""
        self._is_batch = len(request.events) > 1

    def file(self, acked: Sequence[SentEvent]) -> str | None:
        """Note what was acknowledged, row by row; return the first id."""
        first, start = "", len(_OPENS[0])
        is_whole = self._body.startswith(_OPENS) and self._body.endswith(_CLOSE)
        for number, event in enumerate(acked, 1):
            closing = b"," if number < len(acked) else b"]"
            end, event_id = self._file_one(event, start, closing) if is_whole else (0, "")
            if not end:
                _mix(self._recorder, acked[number - 1 :], self._body)
                break
            first, start = first or event_id, end
        return first or None

    def _file_one(self, event: SentEvent, start: int, closing: bytes) -> tuple[int, str]:
        """Note one row; return where the next one begins (0: it is not the event's), and its id."""
        row = _AnsweredRow(self._body, start, event, closing)
        if not row.is_own or self._header:
            return self._file_told(event, start, closing) if event.claim else (0, "")
        if self._is_early:
            self._recorder.early(event.label, row.id, row.created_at)
        else:
            self._recorder.answered(event.label, self._status, row.id, row.created_at)
            if self._recorder.watched is not None and event.expected == GOOD and not event.claim:
                self._recorder.watched.append((row.id, 0 if self._is_batch else self._status))
        return row.end, row.id

    def _file_told(self, event: SentEvent, start: int, closing: bytes) -> tuple[int, str]:
        """Note a row that was, or may have been, stored before."""
        text = self._body[start:].decode()
        try:
            row, length = _scan(text)
        except ValueError:
            return 0, ""
        raw = text[:length].encode()
        end = start + len(raw) + 1
        if self._body[end - 1 : end] != closing or not isinstance(row, dict):
            return 0, ""
        event_id, created_at = str(row.get("id", "")), str(row.get("created_at", ""))
        match row.get(_IN_BATCH, 0) if self._is_batch else self._header:
            case True | b"true":
                self._recorder.told(event.label, self._status, raw)
            case "different" | b"different" if self._status == _COMMITTED:
                self._recorder.told(event.label, self._status, raw)
            case None | b"unknown" | "different" | b"different":
                self._recorder.unsure(event.label, self._status, event_id, created_at)
            case _:
                return 0, ""
        return end, event_id


class _AnsweredRow:
    """A row that should stand at `start` and be followed by `closing`."""

    def __init__(self, body: bytes, start: int, event: SentEvent, closing: bytes) -> None:
        id_start = start + len(_ROW)
        echo_start = id_start + _ID_CHARS
        time_start = echo_start + len(event.echo)
        time_end = time_start + _CREATED_AT_CHARS
        ending = b'"%b}%b' % (event.said, closing)
        self.end = time_end + len(ending)
        self.id = body[id_start:echo_start].decode("ascii", "replace")
        self.created_at = body[time_start:time_end].decode("ascii", "replace")
        parts = (body[start:id_start], body[echo_start:time_start], body[time_end : self.end])
        is_id = not event.id or event.id == self.id
        self.is_own = is_id and parts == (_ROW, event.echo, ending)


def _mix(recorder: Recorder, events: Sequence[SentEvent], body: bytes) -> None:
    for event in events:
        recorder.mixed(event.label, body)
