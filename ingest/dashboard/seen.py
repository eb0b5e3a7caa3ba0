"""Sessions that were seen of late: good enough to read a page by while Postgres can't be asked.

None outlives what is known here of its end. One that another server has ended is forgotten after an
hour at most.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ingest.store import tokens
from ingest.store.sessions import Session

LASTS_S: Final = 3600.0
MAX: Final = 1_000
"""Those that were not seen for longest make room."""


class Seen:
    """Knows them by the digest of their token: nobody reads the token itself out of this."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, tuple[float, Session]] = OrderedDict()

    def note(self, token: str, session: Session | None) -> None:
        """Take note of whose a token is just now; None of one that is nobody's."""
        digest = tokens.digest(token)
        self._sessions.pop(digest, None)
        if session is not None:
            self._sessions[digest] = self._clock(), session
            if len(self._sessions) > MAX:
                self._sessions.popitem(last=False)

    def of(self, token: str) -> Session | None:
        """Return whose a token was within the last hour."""
        at_s, session = self._sessions.get(tokens.digest(token), (0.0, None))
        return session if session and self._clock() - at_s <= LASTS_S else None

    def forget(self, account_id: int) -> None:
        """Forget all sessions of an account: some of them may just have ended."""
        for digest, (_, session) in [*self._sessions.items()]:
            if session.account.id == account_id:
                del self._sessions[digest]
