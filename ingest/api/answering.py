"""Questions answered: by what is known already, or by the engine.

What was answered a moment ago is the answer still, as an event is in an answer a second after its
200 at the latest; so is what was asked of the same events. It is said as of when.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from ingest.api.cache import Cache, Kept, State
from ingest.api.desk import Desk, TookTooLong, Work
from ingest.api.refusals import Code, Refused
from ingest.api.views import View
from ingest.archive.failures import OutOfMemory
from ingest.archive.scope import All, One, Portion, Scope
from ingest.insights import reach
from ingest.insights.errors import BadQuestion, TooDear
from ingest.insights.questions import Funnel, OneEvent, Question, Retention, Trends

_FRESH_S: Final = 0.8
"""So old an answer may be, and what it takes to ask is within the second."""
_MINUTE_S: Final = 60
"""Whether a bucket is over is looked at again so often: all of them end with a minute."""
_PART: Final = 4
"""Of a range that takes too long this part is told to fit."""


class Answered(msgspec.Struct, frozen=True):
    """One answer, as it is sent."""

    status: str
    as_of: datetime
    question: Question
    """As it was understood."""
    data: msgspec.Raw


class _Outcome(NamedTuple):
    data: bytes
    state: State
    as_of: datetime


class Answering:
    """Answers of all apps; what one app's are is known by its number."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._cache = Cache()

    async def answer(self, app_id: int, question: Question) -> bytes:
        """Return the answer as JSON; raise Refused."""
        name = self._name(app_id, question)
        kept = self._cache.find(name)
        if kept is None or time.time() - kept.as_of_s > _FRESH_S:
            kept = await self._ask(app_id, question, kept)
            self._cache.keep(name, kept)
        as_of = datetime.fromtimestamp(kept.as_of_s, UTC)
        return msgspec.json.encode(Answered("success", as_of, question, msgspec.Raw(kept.data)))

    async def _ask(self, app_id: int, question: Question, kept: Kept | None) -> Kept:
        def do(view: View) -> Kept:
            state = State(view.mark, view.tail_rows, view.links, view.erased)
            is_same = kept is not None and kept.state == state
            data = kept.data if kept is not None and is_same else _data(view, question)
            return Kept(data, state, view.as_of.timestamp())

        try:
            scope = Scope(*reach.of(question), _portion(question), reach.has_people(question))
            work = Work(self._desk.open_view, app_id, scope, do)
            return await self._desk.do(work)
        except (TookTooLong, TooDear, OutOfMemory) as error:
            raise too_dear(question, error, self._desk.timeout_s) from None
        except BadQuestion as error:
            raise Refused(Code.INVALID_PARAMETER, str(error)) from None

    def _name(self, app_id: int, question: Question) -> bytes:
        minute = int(time.time()) // _MINUTE_S
        return b"%d/%d/%b" % (app_id, minute, msgspec.json.encode(question))


def too_dear(question: Question, error: Exception, timeout_s: float) -> Refused:
    """Return the refusal of what takes too much, with what would fit."""
    if isinstance(error, TooDear):
        return Refused(Code.TOO_DEAR, f"{error}{_shorter(question, error.longest)}.")
    takes = f"longer than {timeout_s:g} s" if isinstance(error, TookTooLong) else "too much memory"
    length = (
        question.end - question.start if isinstance(question, Trends | Funnel | Retention) else None
    )
    fits = _shorter(question, length / _PART) if length else "; ask for less"
    return Refused(Code.TOO_DEAR, f"This takes {takes}{fits}.")


def _portion(question: Question) -> Portion:
    """Return how much of the tail a question needs."""
    if isinstance(question, OneEvent):
        return One(question.id)
    return All(reach.has_params(question))


def _shorter(question: Question, length: timedelta) -> str:
    if not isinstance(question, Trends | Funnel | Retention):
        return ""
    start = (question.end - length).astimezone(UTC).replace(microsecond=0, tzinfo=None)
    return f"; a range that fits begins with from={start.isoformat()}Z"


def _data(view: View, question: Question) -> bytes:
    """Return what the engine answers, as JSON; in a thread."""
    from ingest.insights import engine  # noqa: PLC0415 - DuckDB, for those who ask

    now = datetime.now(UTC)
    answer = engine.answer(view.connection, view.sources, question, now, view.known, view.links)
    return msgspec.json.encode(answer)
