"""The simulated Postgres: its tables, who is connected, and what is wrong with it.

A session that has a whole statement does it to its end, whoever still waits for the answer, as
Postgres does: so a COPY whose client has gone may be committed later.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from bench.simulate.statements import GUARDED, PostgresError, Wait
from bench.simulate.tables import Row, Tables
from bench.simulate.world import World

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from bench.simulate.session import Session

_STATEMENT_S: Final = (0.000_1, 0.001)
_COMMIT_S: Final = (0.000_2, 0.004)
_ROW_S: Final = 10e-6
_LOCK_SHARE: Final = 0.8
_STATEMENT_SHARE: Final = 0.9
"""Of the commit's time-out, as the product asks for them when it connects."""

_TOLD: Final = 0.7
"""The chance that a session that a crash ends is told so."""

ANY: Final = ("25006", "42P01", "42501", "58030")
"""Failures of every statement that writes to `events`, also one without rows."""
WITH_ROWS: Final = ("53100", "53200", "XX000", "23514", "P0001")
"""Failures that only rows meet."""
ONCE: Final = ("40001", "40P01", "57014", "55P03", "53200", "XX000", "57P01")
"""Failures of one statement."""
_WAITING: Final = {"57014": _STATEMENT_SHARE, "55P03": _LOCK_SHARE}
"""Failures that come only behind a time-out."""


class Cluster:
    """One Postgres, and whatever happens to it."""

    def __init__(
        self, world: World, *, commit_timeout_s: float, is_pooled: bool, factor: float
    ) -> None:
        self.world = world
        self.tables = Tables()
        self.database_id = UUID(bytes=world.entropy.randbytes(16))
        self.is_pooled = is_pooled
        """Whether a pooler stands before it."""
        self.lock_timeout_s = commit_timeout_s * _LOCK_SHARE
        self.statement_timeout_s = commit_timeout_s * _STATEMENT_SHARE
        self.sessions: dict[Session, None] = {}
        self.refusing = ""
        """An SQLSTATE that connections are refused with, or `refused` where nobody listens."""
        self.failing: set[str] = set()
        """SQLSTATEs of ANY and WITH_ROWS."""
        self.once: list[str] = []
        self.rules: set[str] = set()
        """What becomes of guarded rows: check, raise, drop, hang, full, lock."""
        self.usual_factor = self.slow_factor = factor
        """How slow it is."""
        self.is_paused = False
        self._on_resume: list[Callable[[], None]] = []
        self._first: tuple[UUID, Tables] | None = None
        self.strays = 0
        """Rows that came into another database than the one that is meant."""

    def statement_s(self) -> float:
        """Return what a statement takes."""
        return self.world.random.uniform(*_STATEMENT_S) * self.slow_factor

    def commit_s(self) -> float:
        """Return what a COMMIT takes."""
        return self.world.random.uniform(*_COMMIT_S) * self.slow_factor

    def rows_s(self, rows: int) -> float:
        """Return what a statement with so many rows takes."""
        return self.statement_s() + rows * _ROW_S * self.slow_factor

    def when_it_runs(self, call: Callable[[], None]) -> None:
        """Have something done now, or once it is resumed."""
        if self.is_paused:
            self._on_resume.append(call)
        else:
            call()

    def pause(self) -> None:
        """Stop all of it, as SIGSTOP does."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on; a statement that was on its way may have met its time-out."""
        self.is_paused = False
        waiting, self._on_resume = self._on_resume, []
        for call in waiting:
            call()

    def crash(self) -> None:
        """End all sessions with what they have not committed."""
        self.is_paused = False
        self._on_resume.clear()
        for session in [*self.sessions]:
            is_told = self.world.random.random() < _TOLD
            said = PostgresError("57P02", "crash of another server process")
            session.die(said if is_told else None)

    def terminate(self, session: "Session") -> None:
        """End one session, as an administrator does."""
        session.die(PostgresError("57P01", "terminating connection due to administrator command"))

    def replace(self) -> None:
        """Have another database at the address."""
        if self._first is None:
            self._first = self.database_id, self.tables
            self.crash()
            self.database_id = UUID(bytes=self.world.entropy.randbytes(16))
            self.tables = Tables()

    def restore(self) -> None:
        """Have the first database at the address again."""
        if self._first is not None:
            self.crash()
            self.strays += len(self.tables.events) + len(self.tables.rejected)
            self.database_id, self.tables = self._first
            self._first = None

    def fail_statement(self, rows: "Sequence[Row]") -> "Generator[Wait, None, None]":
        """Raise what is wrong with statements just now."""
        for sqlstate in sorted(self.failing):
            if sqlstate in ANY or rows:
                raise PostgresError(sqlstate, "it can't be done now")
        if self.once and rows:
            sqlstate = self.once.pop(0)
            if sqlstate in _WAITING:
                yield self.statement_timeout_s / _STATEMENT_SHARE * _WAITING[sqlstate]
            raise PostgresError(sqlstate, "it can't be done this time")

    def judge(self, row: Row, line: int) -> "Generator[Wait, None, bool]":
        """Do what rules of the operator's do with a row; return whether it goes on."""
        if row.name != GUARDED or not self.rules:
            return True
        if "drop" in self.rules:
            return False
        if "hang" in self.rules:
            yield self.statement_timeout_s
            raise PostgresError("57014", "canceling statement due to statement timeout")
        if "lock" in self.rules:
            yield self.lock_timeout_s
            raise PostgresError("55P03", "canceling statement due to lock timeout")
        if "raise" in self.rules:
            raise PostgresError("P0001", "not this one", line=line)
        if "full" in self.rules:
            raise PostgresError("53100", "could not extend file", line=line)
        raise PostgresError("23514", "violates check", line=line, constraint="events_guarded")
