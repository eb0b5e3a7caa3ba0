"""A session of the simulated Postgres: one statement after the other, in transactions."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bench.simulate.cluster import Cluster
from bench.simulate.statements import Fields, PostgresError, Reply, Staged, Wait, Work
from bench.simulate.tables import Row, Transaction

if TYPE_CHECKING:
    from bench.simulate.world import Event

_FATAL: Final = ("57P01", "57P02", "57P03")
_ENDS: Final = ("COMMIT", "ROLLBACK")
_LATE: Final = 0.3
"""The chance that a statement meets its time-out, once it goes on behind that."""

Answer = Reply | PostgresError
Asked = Callable[["Session"], Work]


class Session:
    """One backend process."""

    def __init__(
        self,
        cluster: Cluster,
        pid: int,
        on_answer: Callable[[Answer], None],
        on_end: Callable[[], None],
    ) -> None:
        self.cluster = cluster
        self.pid = pid
        self._on_answer = on_answer
        self._on_end = on_end
        self.staging: list[Staged] = []
        self.findings: list[Fields] = []
        self.is_failed = False
        self._transaction: Transaction | None = None
        self._is_in_block = False
        self._work: Work | None = None
        self._name = ""
        self._timer: Event | None = None
        self._is_client_gone = False
        cluster.sessions[self] = None

    @property
    def transaction(self) -> Transaction:
        """The one that statements are part of."""
        if self._transaction is None:
            self._transaction = Transaction(self.cluster.tables)
        return self._transaction

    @property
    def is_alive(self) -> bool:
        """Whether it is there."""
        return self in self.cluster.sessions

    def ask(self, name: str, asked: Asked, *, begins: bool = False) -> None:
        """Do a statement; `begins` if it begins a transaction that lasts."""
        if not self.is_alive:
            return
        self._name, self._is_in_block = name, self._is_in_block or begins
        self._work = self._run(asked)
        self._go_on()

    def leave(self) -> None:
        """Hear that the client is gone: a statement that is on its way goes on."""
        self._is_client_gone = True
        if self._work is None and self.is_alive:
            self._end()

    def die(self, error: PostgresError | None) -> None:
        """End at once, with what is not committed; say why, or nothing."""
        if not self.is_alive:
            return
        work, self._work = self._work, None
        if work is not None:
            work.close()
        self._end()
        if error is not None:
            error.severity = "FATAL"
            self._on_answer(error)
        self._on_end()

    def begin_statement(self, rows: Sequence[Row]) -> Generator[Wait, None, None]:
        """Take as long as a statement with rows takes; raise what is wrong with all of them."""
        yield self.cluster.rows_s(len(rows))
        yield from self.cluster.fail_statement(rows)

    def judge(self, row: Row, line: int) -> Generator[Wait, None, bool]:
        """Return whether a row goes on behind triggers and rules; raise PostgresError."""
        return self.cluster.judge(row, line)

    def commit(self) -> None:
        """Commit what was done."""
        if self._transaction is not None:
            self._transaction.commit()
        self._forget()

    def roll_back(self) -> None:
        """Undo what was done."""
        if self._transaction is not None:
            self._transaction.roll_back()
        self._forget()

    def _forget(self) -> None:
        self._transaction, self._is_in_block, self.is_failed = None, False, False
        self.staging, self.findings = [], []

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.roll_back()
        self.cluster.sessions.pop(self, None)

    def _run(self, asked: Asked) -> Work:
        """Do a statement, in a transaction of its own where there is none."""
        if self.is_failed and self._name not in _ENDS:
            raise PostgresError("25P02", "current transaction is aborted")
        reply = yield from asked(self)
        if not self._is_in_block and self._transaction is not None:
            yield self.cluster.commit_s()
            self.commit()
        return reply

    def _go_on(self) -> None:
        stopped_s = self.cluster.world.now_s if self.cluster.is_paused else None
        self.cluster.when_it_runs(partial(self._resume, stopped_s))

    def _resume(self, stopped_s: float | None) -> None:
        world = self.cluster.world
        is_over = (
            stopped_s is not None and world.now_s - stopped_s > self.cluster.statement_timeout_s
        )
        if is_over and world.random.random() < _LATE:
            self._step(PostgresError("57014", "canceling statement due to statement timeout"))
        else:
            self._step(None)

    def _step(self, error: PostgresError | None) -> None:
        """Go on with the statement up to where it has to wait."""
        work, self._timer = self._work, None
        if work is None:
            return
        try:
            wait = next(work) if error is None else work.throw(error)
        except StopIteration as done:
            self._answer(done.value)
        except PostgresError as raised:
            self._fail(raised)
        else:
            self._wait(wait)

    def _wait(self, wait: Wait) -> None:
        if isinstance(wait, float):
            self._timer = self.cluster.world.after(wait, self._go_on)
            return
        mine = self.transaction
        if _leads_to(wait, mine):
            self._step(PostgresError("40P01", "deadlock detected"))
            return
        mine.waits_for = wait
        self._timer = self.cluster.world.after(self.cluster.lock_timeout_s, self._give_up, wait)
        wait.on_end.append(partial(self._stop_waiting, wait))

    def _stop_waiting(self, other: Transaction) -> None:
        if self._transaction is not None and self._transaction.waits_for is other:
            self._transaction.waits_for = None
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.cluster.world.after(0.0, self._go_on)

    def _give_up(self, other: Transaction) -> None:
        if self._transaction is not None and self._transaction.waits_for is other:
            self._transaction.waits_for = None
            late = PostgresError("55P03", "canceling statement due to lock timeout")
            self.cluster.when_it_runs(partial(self._step, late))

    def _fail(self, error: PostgresError) -> None:
        self._work = None
        if error.sqlstate in _FATAL:
            self.die(error)
            return
        if self._is_in_block:
            self.is_failed = True
        else:
            self.roll_back()
        self._answer(error)

    def _answer(self, answer: Answer) -> None:
        self._work = None
        if self._is_client_gone:
            self._end()
            return
        shown = answer.sqlstate if isinstance(answer, PostgresError) else answer.tag
        self.cluster.world.note(f"postgres {self.pid}: {self._name}: {shown}")
        self._on_answer(answer)


def _leads_to(wait: Transaction | None, mine: Transaction) -> bool:
    """Whether the end of a transaction depends on mine."""
    while wait is not None and wait is not mine:
        wait = wait.waits_for
    return wait is mine
