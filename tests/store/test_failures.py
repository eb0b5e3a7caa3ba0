"""Every way in which Postgres fails: what is said of the outcome, and that it goes on after.

Each error is raised by a real Postgres.
"""

import asyncio
import re
import socket
import ssl
import time
from contextlib import suppress

import asyncpg
import pytest

from ingest.errors import StartupError
from ingest.store.cluster import Cluster
from ingest.store.failures import (
    ROW_ERRORS,
    Outage,
    RowRefused,
    Unavailable,
    while_connecting,
    while_sending,
)
from ingest.store.link import CopyLink
from ingest.store.postgres import Postgres
from ingest.store.reasons import reason_of
from tests.store.events import (
    alter_database,
    assert_works,
    copy,
    make_event,
    make_link,
    stored_ids,
    terminate_backends,
    until,
    until_true,
)
from tests.support.postgres import fetch, kill, make_postgres, pause, resume

COMMIT_TIMEOUT_S = 0.5
SECRET = "hunter2"
JUDGED = {"22", "23", "44", "54", "P0"}
"""The classes of errors of which Postgres says that it has judged the rows."""
WAITING = {"25", "28", "3D", "40", "55", "57"}
"""The classes of errors that would be no other with other rows."""


async def fail(link: CopyLink) -> Unavailable:
    """Send an event that is bound to fail for no fault of its own."""
    with pytest.raises(Unavailable) as failed:
        await copy(link, make_event())
    return failed.value


async def test_missing_table_is_an_outage(own_url: str) -> None:
    """42P01: nothing was stored, every session would fail alike, and no row is to blame.

    Of a COPY with rows that is not known yet: a trigger may have missed a table for one of them.
    """
    link = make_link(make_postgres(own_url))
    await fetch(own_url, "ALTER TABLE events RENAME TO moved")
    with pytest.raises(RowRefused) as doubtful:
        await copy(link, make_event())
    assert (doubtful.value.is_doubtful, doubtful.value.is_told) == (True, False)
    with pytest.raises(Unavailable) as failed:
        await link.probe()
    failure = failed.value
    assert (failure.stored, failure.outage) == (False, Outage.FAILING)
    assert "42P01" in failure.reason
    await fetch(own_url, "ALTER TABLE moved RENAME TO events")
    await assert_works(link, own_url)
    await link.close()


@pytest.mark.parametrize(
    ("setting", "sqlstate"),
    [
        ("SET role TO pg_read_all_data", "42501"),
        ("SET default_transaction_read_only TO on", "25006"),
    ],
    ids=["no permission", "read-only"],
)
async def test_database_that_takes_no_writes_is_an_outage(
    own_url: str, setting: str, sqlstate: str
) -> None:
    """42501 and 25006: nothing was stored; a new connection works once it is mended."""
    link = make_link(make_postgres(own_url))
    await alter_database(own_url, setting)
    with pytest.raises(Unavailable) as failed:
        await link.probe()
    failure = failed.value
    assert (failure.stored, failure.outage) == (False, Outage.FAILING)
    assert sqlstate in failure.reason
    await alter_database(own_url, "RESET ALL")
    await assert_works(link, own_url)
    await link.close()


async def test_lock_is_given_up_before_the_client_gives_up(database_url: str) -> None:
    """55P03: Postgres says in time that it stored nothing, so the event's outcome is known."""
    link = make_link(make_postgres(database_url, COMMIT_TIMEOUT_S))
    other = await asyncpg.connect(database_url, timeout=10)
    async with other.transaction():
        await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        failure = await fail(link)
    await other.close()
    assert (failure.stored, failure.outage) == (False, Outage.FAILING)
    assert "55P03" in failure.reason
    assert await stored_ids(database_url) == set()
    await assert_works(link, database_url)
    await link.close()


async def copy_behind_a_lock(
    link: CopyLink, url: str
) -> tuple[asyncio.Task[Unavailable], "asyncpg.Connection[asyncpg.Record]"]:
    """Begin a copy that hangs in Postgres until the connection that is returned ends."""
    other = await asyncpg.connect(url, timeout=10)
    await other.execute("BEGIN")
    await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    sending = asyncio.create_task(fail(link))
    await until_true(url, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
    return sending, other


async def test_session_ended_by_an_administrator_is_no_outage(
    postgres: Postgres, database_url: str
) -> None:
    """57P01 during a COPY: its outcome is unknown, and a new connection works at once."""
    link = make_link(postgres)
    sending, other = await copy_behind_a_lock(link, database_url)
    assert await terminate_backends(database_url) == 1
    failure = await sending
    assert (failure.stored, failure.outage) == (None, Outage.CONNECTION_LOST)
    await other.close()
    await assert_works(link, database_url)
    await link.close()


async def test_session_that_ended_while_idle_costs_at_most_one_copy(
    postgres: Postgres, database_url: str
) -> None:
    """Whether or not it was noticed in time: the copy after it is stored."""
    link = make_link(postgres)
    await assert_works(link, database_url)
    await terminate_backends(database_url)
    with suppress(Unavailable):
        await copy(link, make_event())
    await assert_works(link, database_url)
    await link.close()


async def test_cancelled_copy_leaves_a_link_that_works(
    postgres: Postgres, database_url: str
) -> None:
    """A server that stops in the middle of a COPY lets go of its connection."""
    link = make_link(postgres)
    sending, other = await copy_behind_a_lock(link, database_url)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await other.close()
    await assert_works(link, database_url)
    await link.close()


async def test_hung_postgres_costs_its_time_out_and_the_connection(
    own_cluster: Cluster, harmed_url: str
) -> None:
    """The copy ends in time, its outcome unknown; so does connecting; then it goes on."""
    postgres = Postgres(harmed_url, connect_timeout_s=0.5, commit_timeout_s=COMMIT_TIMEOUT_S)
    link = make_link(postgres)
    await assert_works(link, harmed_url)
    await asyncio.to_thread(pause, own_cluster)
    begun_s = time.monotonic()
    sending = await fail(link)
    connecting = await fail(link)
    assert time.monotonic() - begun_s < 2 * (COMMIT_TIMEOUT_S + 0.5)
    assert (sending.stored, sending.outage) == (None, Outage.AWAY)
    assert (connecting.stored, connecting.outage) == (False, Outage.AWAY)
    await asyncio.to_thread(resume, own_cluster)
    await assert_works(link, harmed_url)
    await link.close()


async def test_killed_postgres_leaves_the_fate_of_a_copy_unknown(
    own_cluster: Cluster, harmed_url: str
) -> None:
    """Kill -9 during a COPY: unknown; while it is down: not stored; then it goes on."""
    link = make_link(make_postgres(harmed_url))
    await assert_works(link, harmed_url)
    sending, other = await copy_behind_a_lock(link, harmed_url)
    await asyncio.to_thread(kill, own_cluster)
    during = await sending
    other.terminate()
    down = await fail(link)
    assert (during.stored, during.outage) == (None, Outage.CONNECTION_LOST)
    assert (down.stored, down.outage) == (False, Outage.AWAY)
    await asyncio.to_thread(own_cluster.start)
    await assert_works(link, harmed_url)
    await link.close()


async def test_work_in_a_hung_session_ends_in_time(own_cluster: Cluster, harmed_url: str) -> None:
    """What is not a COPY, for example reading the keys, does not hang either."""
    postgres = Postgres(harmed_url, connect_timeout_s=0.5, commit_timeout_s=5)
    begun_s = time.monotonic()

    async def work() -> None:
        async with postgres.session(COMMIT_TIMEOUT_S) as connection:
            await asyncio.to_thread(pause, own_cluster)
            await connection.fetchval("SELECT 1")

    with pytest.raises(Unavailable) as failed:
        await work()
    assert failed.value.stored is None
    assert time.monotonic() - begun_s < 4
    await asyncio.to_thread(resume, own_cluster)
    async with postgres.session() as connection:
        assert await connection.fetchval("SELECT 1") == 1


def test_only_the_closed_list_of_data_errors_is_a_row_s_fault() -> None:
    """Every error that asyncpg knows: its sender is told so if its SQLSTATE is on the list.

    What a rule of the operator's may refuse is a row's as well, and told to nobody; of a statement
    without rows it is no row's.
    """
    kinds = [
        kind
        for kind in vars(asyncpg.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, asyncpg.PostgresError) and kind.sqlstate
    ]
    assert len(kinds) > 200
    for kind in kinds:
        is_listed = kind.sqlstate in ROW_ERRORS
        without_rows, outcome = while_sending(kind("text")), while_sending(kind("text"), rows=3)
        assert isinstance(without_rows, RowRefused) == is_listed, kind
        if isinstance(outcome, RowRefused):
            assert outcome.is_told == is_listed, kind
            is_judged = kind.sqlstate[:2] in JUDGED and kind.sqlstate != "23514"  # here unnamed
            assert outcome.is_doubtful != is_judged, kind
        else:
            is_session = kind.sqlstate[:2] == "08" or kind.sqlstate.startswith("57P")
            is_waiting = kind.sqlstate[:2] in WAITING
            assert is_session or is_waiting or kind.sqlstate == "23505", kind


@pytest.mark.parametrize(
    ("error", "stored", "outage"),
    [
        (RuntimeError("unable to perform operation"), None, Outage.CONNECTION_LOST),
        (ConnectionResetError(), None, Outage.CONNECTION_LOST),
        (asyncpg.InterfaceError("connection is closed"), False, Outage.CONNECTION_LOST),
        (TimeoutError(), None, Outage.AWAY),
        (asyncpg.PostgresError("no SQLSTATE"), None, Outage.CONNECTION_LOST),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_never_came_from_postgres_is_no_row_s_fault(
    error: Exception, stored: object, outage: Outage
) -> None:
    """Also the bare RuntimeError of a dying transport, and a time-out, which is an OSError too."""
    outcome = while_sending(error, rows=3)
    assert isinstance(outcome, Unavailable)
    assert (outcome.stored, outcome.outage) == (stored, outage)


def test_reasons_quote_nothing() -> None:
    """A reason is shown to clients and logged: it holds no payload, address or password."""
    for classify in (while_connecting, while_sending):
        for error in (asyncpg.CheckViolationError("SECRET"), OSError("SECRET"), TimeoutError()):
            outcome = classify(error)
            assert isinstance(outcome, Unavailable)
            assert "SECRET" not in outcome.reason
            assert outcome.reason


KINDS = [
    kind
    for kind in vars(asyncpg.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]
SYSTEM_KINDS = [
    *(TimeoutError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError),
    *(FileNotFoundError, PermissionError, OSError, socket.gaierror),
    *(ssl.SSLError, ssl.SSLCertVerificationError, RuntimeError),
]


def test_reasons_are_words_and_there_are_only_so_many() -> None:
    """No name of a class, whatever went wrong; Postgres's own code is with them."""
    reasons = {kind: reason_of(kind("SECRET")) for kind in [*KINDS, *SYSTEM_KINDS]}
    for kind, reason in reasons.items():
        assert "SECRET" not in reason
        assert len(reason) < 100
        if issubclass(kind, asyncpg.PostgresError | OSError | asyncpg.InterfaceError):
            assert not re.search(r"[a-z]Error|[a-z][A-Z]", reason), kind
        if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate:
            assert reason.endswith(f", SQLSTATE {kind.sqlstate}")
    assert reasons[asyncpg.InsufficientPrivilegeError] == "a permission is missing, SQLSTATE 42501"
    assert reasons[ConnectionRefusedError] == "the connection was refused"
    assert reasons[TimeoutError] == "no answer in time"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u@127.0.0.1:1/d", "the connection was refused: 127.0.0.1:1, database d"),
        ("postgresql://u@/d?host=/nowhere", "no such socket: /nowhere/.s.PGSQL.5432, database d"),
        ("postgresql://u@nobody.invalid/d", "name is not known: nobody.invalid, database d"),
        ("postgresql://u@[::1]:1/d", r"the connection .*: \[::1\]:1, database d"),
    ],
)
def test_what_is_not_reached_is_named(url: str, told: str) -> None:
    """Which address or socket it was, in a line for people, and not in what clients see."""
    with pytest.raises(StartupError, match=told) as refused:
        asyncio.run(make_postgres(url).wait_until_up(0))
    cause = refused.value.__cause__
    assert isinstance(cause, Unavailable)
    assert (cause.outage, cause.sqlstate) == (Outage.AWAY, "")
    assert "database d" not in cause.reason
    assert "database d" not in cause.named_reason


async def test_what_postgres_says_while_connecting_is_told(cluster: Cluster) -> None:
    """It is there, so there is nobody to look for; its own words are for the operator."""
    with pytest.raises(Unavailable) as failed:
        await make_postgres(cluster.url("nowhere")).connect()
    failure = failed.value
    assert failure.outage is Outage.FAILING
    assert failure.reason == failure.named_reason == "there is no such database, SQLSTATE 3D000"
    assert 'database "nowhere" does not exist' in str(failure)


async def test_no_failure_is_without_words(own_cluster: Cluster, harmed_url: str) -> None:
    """Neither for a time-out, whose own text is empty."""
    await asyncio.to_thread(pause, own_cluster)
    with pytest.raises(Unavailable) as failed:
        await Postgres(harmed_url, connect_timeout_s=0.2, commit_timeout_s=1).connect()
    assert str(failed.value).startswith("no answer in time: ")


async def test_wait_until_up_waits_for_a_postgres_that_starts_late(
    own_cluster: Cluster, harmed_url: str
) -> None:
    """A server may be started before its Postgres."""
    await asyncio.to_thread(own_cluster.stop)
    waiting = asyncio.create_task(make_postgres(harmed_url).wait_until_up(timeout_s=30))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await asyncio.to_thread(own_cluster.start)
    await until(waiting.done)
    await waiting


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql://u:{SECRET}/x@h/d",
        f"postgresql://u:x?{SECRET}@h/d",
        f"postgresql://u:{SECRET}#x@h/d",
        f"postgresql://u:[{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h/d?sslmode=bad",
        f"postgresql://u:{SECRET}@{'h' * 300}/d",
        SECRET,
    ],
)
def test_url_that_is_none_is_refused_without_telling_the_password(url: str) -> None:
    """Also when the password's own characters are what makes it unreadable."""
    with pytest.raises(StartupError, match=r"^database\.url can't be used") as refused:
        asyncio.run(make_postgres(url).wait_until_up(30))
    assert SECRET not in str(refused.value)


def test_client_can_not_choose_whose_row_is_blamed() -> None:
    """What a client sent may be quoted in the context; only Postgres's own last line counts."""
    error = asyncpg.UntranslatableCharacterError("unsupported Unicode escape sequence")
    error.context = (
        'JSON data, line 1: {"COPY events, line 1 ":"\\u65e5...\n'
        "COPY events, line 6, column event_params"
    )
    failure = while_sending(error, rows=10)
    assert isinstance(failure, RowRefused)
    assert failure.index == 5
