"""What pages ask of an app's events: the query API's own questions, counted by account."""

import asyncio
import time
import weakref
from collections import OrderedDict
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from ingest.api.allowance import Allowance
from ingest.api.answering import Answering
from ingest.api.asking import Asked, Kind
from ingest.api.parameters import Parameters
from ingest.api.refusals import Code, Refused
from ingest.dashboard import ranges
from ingest.dashboard.menu import VALUES_MAX
from ingest.dashboard.routes import Visit
from ingest.insights.answers import Answer, NamesAnswer
from ingest.insights.questions import Names, Question

_AT_ONCE: Final = 2
"""Of one account; further ones wait, as those of a board's tiles do."""
_TURN_S: Final = 30.0
_FACTOR: Final = 10
"""A page may ask several, and people turn pages faster than programs should ask."""
_NAMES_KEPT_MAX: Final = 20
_NAMES_KEPT_S: Final = 60.0

Data = TypeVar("Data", bound=Answer)


class Answered(msgspec.Struct, frozen=True):
    """An answer of the query API, read."""

    as_of: datetime
    question: Question
    data: Answer


_DECODER: Final = msgspec.json.Decoder(Answered)


def read(visit: Visit, kind: Kind, usual: str = ranges.USUAL) -> Question:
    """Return the question that a page's address asks; raise Refused.

    Of a kind that has a range, that of the page; the usual one where its address has none.
    """
    query = visit.request.query
    if "from" in kind.parameters:
        query = ranges.read(visit, usual).query(query)
    return kind.read(Asked(visit.app, Parameters(query, kind.parameters), datetime.now(UTC)))


class Questions:
    """Asks for whoever has signed in."""

    def __init__(self, answering: Answering, per_minute_max: int) -> None:
        """`per_minute_max` is that of a key; an account has more."""
        self._answering = answering
        self._allowance = Allowance(per_minute_max * _FACTOR, "account")
        self._turns: weakref.WeakValueDictionary[int, asyncio.Semaphore] = (
            weakref.WeakValueDictionary()
        )
        self._names: OrderedDict[int, tuple[NamesAnswer, float]] = OrderedDict()
        """Of the apps that were asked about last, and when."""

    async def ask(
        self, visit: Visit, question: Question, within_s: float | None = None
    ) -> Answered:
        """Return the answer about the app of a visit; raise Refused or ArchiveTrouble.

        Once its turn has come it may take `within_s`, or as long as any question.
        """
        account = visit.session.account.id
        turn = self._turns.setdefault(account, asyncio.Semaphore(_AT_ONCE))
        try:
            async with asyncio.timeout(_TURN_S):
                await turn.acquire()
        except TimeoutError:
            message = "Your other questions are still being answered."
            raise Refused(Code.TOO_MANY_REQUESTS, message, retry_after_s=2) from None
        try:
            async with asyncio.timeout(within_s):
                with self._allowance.question(b"account/%d" % account):
                    return _DECODER.decode(await self._answering.answer(visit.app.id, question))
        except TimeoutError:
            message = f"This takes longer than {within_s:g} s; ask it alone, or for less."
            raise Refused(Code.TOO_DEAR, message) from None
        finally:
            turn.release()

    async def names(self, visit: Visit) -> NamesAnswer:
        """Return which names and parameters an app has; raise as `ask`."""
        found = await self.data(visit, Names(VALUES_MAX), NamesAnswer)
        self._names[visit.app.id] = found, time.monotonic()
        self._names.move_to_end(visit.app.id)
        while len(self._names) > _NAMES_KEPT_MAX:
            self._names.popitem(last=False)
        return found

    async def names_of_lately(self, visit: Visit) -> NamesAnswer:
        """Return what `names` did a minute ago at most, beside what somebody waits for."""
        found, asked_s = self._names.get(visit.app.id, (None, 0.0))
        if found is not None and time.monotonic() - asked_s < _NAMES_KEPT_S:
            return found
        return await self.names(visit)

    async def data(self, visit: Visit, question: Question, kind: type[Data]) -> Data:
        """Return an answer of the kind that a question has; raise as `ask`."""
        answered = await self.ask(visit, question)
        if not isinstance(answered.data, kind):
            raise TypeError(f"{type(question).__name__} was answered otherwise")
        return answered.data

    def export(self, visit: Visit) -> AbstractContextManager[None]:
        """Count an export for as long as it is sent; raise Refused.

        An account may have as many at once as a key, beside what its pages ask.
        """
        return self._allowance.question(b"export/%d" % visit.session.account.id)
