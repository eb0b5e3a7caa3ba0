"""`database.url`: what psql takes, the server takes; a mistake is told before anything is tried.

With a Postgres that is reached by TCP, has TLS, and wants a password.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from ingest.errors import StartupError
from ingest.store.cluster import Cluster
from ingest.store.database_url import DatabaseUrl
from tests.conftest import prepare
from tests.store.events import copy, make_event, make_link
from tests.support.command import Ended, Nonito, complaint, run, run_here, succeed
from tests.support.postgres import fetch, make_postgres, running_cluster

# The wheel's Postgres has no TLS.
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = pytest.mark.skipif(
    not (PROGRAMS and shutil.which("openssl") and shutil.which("psql")),
    reason="PostgreSQL or openssl is not installed",
)

PASSWORD = "p@ss+w/o?rd#1%:&"
ENCODED = "p%40ss%2Bw%2Fo%3Frd%231%25%3A%26"
SECRET = "hunter2"
STRANGER = 54_321
AS_STRANGER = f"""
# What a stranger may not read any more:
import concurrent.futures.thread, encodings.idna, importlib.readers, os
import ingest.cli.keys
from ingest.cli import main
os.setgroups([])
os.setgid({STRANGER})
os.setuid({STRANGER})
main()
"""


class Remote(NamedTuple):
    """A Postgres as others run it."""

    host: str
    certificate: Path

    def url(self, query: str = "", login: str = f"app:{ENCODED}@") -> str:
        """Return where to connect; a query may name the certificate and the host."""
        named = query.format(certificate=self.certificate, host=self.host)
        return f"postgresql://{login}{self.host}/remote{named}"


@pytest.fixture
def nonito(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nonito:
    """The command without a process of its own."""
    return run_here(monkeypatch, capfd)


def make_certificate(cluster: Cluster, host: str) -> None:
    """Make a certificate for an address, which vouches for itself, in the data directory."""
    data = cluster.directory / "postgres"
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    files = ("-keyout", str(data / "server.key"), "-out", str(data / "server.crt"))
    names = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=IP:{host}")
    subprocess.run([*command, *files, *names], check=True, capture_output=True, timeout=60)
    owner = data.stat()
    os.chown(data / "server.key", owner.st_uid, owner.st_gid)
    hba = data / "pg_hba.conf"
    hba.write_text(f"host all all 127.0.0.0/8 scram-sha-256\n{hba.read_text()}")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A migrated database on an address of the loopback network that nobody else has."""
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"
    with running_cluster(PROGRAMS[-1]) as cluster:
        cluster.create_database("remote")
        cluster.execute(f"CREATE ROLE app LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        asyncio.run(prepare(make_postgres(cluster.url("remote"))))
        cluster.stop()
        make_certificate(cluster, host)
        cluster.start(f"listen_addresses={host}", "ssl=on")
        certificate = tmp_path_factory.mktemp("tls") / "ca.pem"
        shutil.copy(cluster.directory / "postgres" / "server.crt", certificate)
        certificate.chmod(0o644)
        yield Remote(host, certificate)


async def ask(url: str) -> tuple[bool, str]:
    """Connect as a server does; return whether the session has TLS, and its program's name."""
    sql = (
        "SELECT ssl, application_name FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE pid = pg_backend_pid()"
    )
    async with make_postgres(url).session() as connection:
        row = await connection.fetchrow(sql)
        assert row is not None
        return row["ssl"], row["application_name"]


def psql(url: str) -> Ended:
    """Give a URL to psql as it is."""
    return run("-X", "-A", "-t", "-c", "SELECT 1", url, command=("psql",))


TAKEN = [
    "",
    "?sslmode=require",
    "?sslmode=require&channel_binding=require",
    "?sslmode=require&connect_timeout=10&application_name=shop",
    "?sslmode=verify-full&sslrootcert={certificate}",
    "?sslmode=verify-ca&sslrootcert={certificate}&sslsni=1&sslcompression=0",
    "?ssl=true",
    "?sslmode=require&options=-c%20search_path%3Dpublic%20-c%20geqo%3Doff",
    "?target_session_attrs=read-write&gssencmode=disable&keepalives=1&keepalives_idle=30",
    "?hostaddr={host}&fallback_application_name=x&client_encoding=latin1&sslcert=",
    "?tcp_user_timeout=1000&ssl_min_protocol_version=TLSv1.2&krbsrvname=postgres&",
]


@pytest.mark.parametrize("query", TAKEN)
def test_what_psql_takes_the_server_and_nonito_psql_take(
    remote: Remote, nonito: Nonito, query: str
) -> None:
    """Strings of managed services are among them; with TLS, and the user's own name, if any."""
    url = remote.url(query)
    assert succeed(psql(url)) == "1\n"
    has_tls, name = asyncio.run(ask(url))
    assert has_tls
    assert name == ("shop" if "application_name=shop" in query else "nonito")
    at = ("--database-url", url, "psql", "-X", "-A", "-t", "-c")
    assert succeed(nonito(*at, "SELECT 1")) == "1\n"


def test_what_has_no_effect_is_told(remote: Remote, nonito: Nonito) -> None:
    """By the server's log, once, and by `nonito check`; with what to set instead."""
    url = remote.url("?connect_timeout=10&channel_binding=prefer&sslmode=require")
    with capture_logs() as logs:
        asyncio.run(ask(url))
    (told,) = [line for line in logs if "no effect" in line["event"]]
    assert [each.split()[0] for each in told["parameters"]] == [
        "connect_timeout",
        "channel_binding",
    ]
    shown = nonito("--database-url", url, "check").stdout
    assert "connect_timeout (set database.connect_timeout_s) has no effect" in shown
    assert "channel_binding" in shown


def test_encoding_of_a_session_is_always_utf8(remote: Remote) -> None:
    """Rows are sent as they are: with another one they would be stored as something else."""
    url = remote.url("?client_encoding=latin1&options=-c%20client_encoding%3Dlatin1")

    async def encoding() -> str:
        async with make_postgres(url).session() as connection:
            return str(await connection.fetchval("SHOW client_encoding"))

    assert asyncio.run(encoding()).upper().replace("-", "") == "UTF8"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://{login}{host},192.0.2.1:5433/remote?sslmode=require",
        "postgresql://{login}{host}:5432/remote",
        "postgresql:///remote?host={host}&port=5432&user=app&password={password}",
        "postgresql:///?host={host}&dbname=remote&user=app&password={password}",
        "postgresql:///?host={host}&database=remote&user=app&password={password}",
        "postgresql:///remote?hostaddr={host}&user=app&password={password}",
        "postgres://app@{host}/remote?password={password}",
        "host={host} port=5432 dbname=remote user=app password='{plain}' sslmode=require",
        " hostaddr = {host}  dbname = 'remote' user=app password={escaped}",
    ],
)
def test_every_way_to_write_where_leads_there(remote: Remote, nonito: Nonito, url: str) -> None:
    """Also with a password full of characters that mean something elsewhere in a URL."""
    login = f"app:{ENCODED}@"
    escaped = PASSWORD.replace("'", r"\'").replace(" ", r"\ ")
    forms = {"password": ENCODED, "plain": PASSWORD, "escaped": escaped}
    named = url.format(login=login, host=remote.host, **forms)
    if "database=" not in url:  # which asyncpg's users write
        assert succeed(psql(named)) == "1\n"
    assert asyncio.run(ask(named))[0]
    assert succeed(nonito("--database-url", named, "psql", "-X", "-A", "-t", "-c", "SELECT 1"))
    assert PASSWORD not in DatabaseUrl(named).address
    assert ENCODED not in DatabaseUrl(named).address
    assert remote.host in DatabaseUrl(named).address
    assert DatabaseUrl(named).address.endswith("database remote")


def test_system_s_authorities_are_asked(remote: Remote) -> None:
    """`sslrootcert=system`: here they don't know this one, until they do."""
    url = remote.url("?sslmode=verify-full&sslrootcert=system")
    settings = {"database.start_timeout_s": 0.3}
    stranger = complaint(run("--database-url", url, "keys", "list", settings=settings))
    assert "certificate" in stranger
    trusted = {"SSL_CERT_FILE": str(remote.certificate)}
    succeed(run("--database-url", url, "keys", "list", variables=trusted))


MISTAKES = {
    "?sslmod=require": "'sslmod' .*did you mean sslmode",
    "?pgbouncer=true": "'pgbouncer' is no parameter",
    "?schema=app": "'schema' is no parameter.*options=-c",
    "?search_path=app": "'search_path' is no parameter.*options=-c",
    "?sslmode=no-verify": "sslmode is one of disable, .*verify-full",
    "?ssl=maybe": "'ssl' is no parameter",
    "?sslmode": "'sslmode' is no parameter",
    "?sslmode=verify-full": "sslmode=verify-full needs sslrootcert=FILE",
    "?sslmode=verify-full&sslrootcert=/nowhere/ca.pem": "sslrootcert, /nowhere/ca.pem, can't be re",
    "?sslmode=require&sslcert=/nowhere/my.crt": "sslcert, /nowhere/my.crt, can't be read: No such",
    "?sslkey=/nowhere/my.key": "sslkey, /nowhere/my.key, can't be read",
    "?sslmode=require&sslrootcert=/etc/passwd": "sslrootcert, /etc/passwd, holds no certificate",
    "?port=99999": "a port is a number up to 65535",
    "?port=abc": "a port is a number up to 65535",
    "?host=a,": "host names none",
}


@pytest.mark.parametrize(("query", "told"), MISTAKES.items())
def test_mistake_is_told_before_anything_is_tried(query: str, told: str) -> None:
    """Nobody is asked: the address is nobody's. It names what is wrong, and no password."""
    url = f"postgresql://app:{SECRET}@192.0.2.1/remote{query}"
    with pytest.raises(StartupError, match=rf"^database\.url can't be used: .*{told}") as refused:
        DatabaseUrl(url)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}@x@h/d",
        f"postgresql://a@b:{SECRET}@h/d",
        f"postgresql://app:{SECRET}/@h/d",
        f"postgresql://app:1?{SECRET}=x@h/d",
        f"postgresql://app:1?{SECRET}@h/d",
        f"postgresql://app:1#{SECRET}@h/d",
        f"postgresql+driver://app:{SECRET}@h/d",
        f"host=h password='{SECRET}",
        f"host=h password=a {SECRET}",
        f"host=h password=a {SECRET}=x",
        f"host=h password=it's {SECRET}=x",
    ],
)
def test_password_that_is_not_encoded_is_hinted_at_and_not_shown(url: str) -> None:
    """Wherever its own characters have put it."""
    with pytest.raises(StartupError, match="%40") as refused:
        DatabaseUrl(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("check",), ("psql",)])
def test_mistake_is_one_line_of_every_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """It is no outage: there is nothing to wait for, and no reason to spool."""
    settings = {"spool.path": tmp_path / "spool", "database.start_timeout_s": 3600}
    url = f"postgresql://app:{SECRET}@192.0.2.1/d?sslmod=require"
    assert "'sslmod'" in complaint(run("--database-url", url, *arguments, settings=settings))


def test_setting_that_postgres_does_not_know_is_no_outage(remote: Remote, tmp_path: Path) -> None:
    """It is Postgres that says so, at once."""
    settings = {"spool.path": tmp_path / "spool", "database.start_timeout_s": 3600}
    url = remote.url("?options=-c%20nosuch%3D1")
    ended = run("--database-url", url, "serve", "--port", "0", settings=settings)
    assert ended.returncode == 1
    assert 'unrecognized configuration parameter "nosuch"' in ended.stderr.splitlines()[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_home_that_can_not_be_searched_is_none(remote: Remote, tmp_path: Path, mode: str) -> None:
    """Psql connects there, too."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    ended = run(
        *("--database-url", remote.url(f"?sslmode={mode}"), "keys", "list"),
        command=(sys.executable, "-c", AS_STRANGER),
        variables={"HOME": str(home)},
    )
    assert succeed(ended).startswith("PREFIX")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_account_without_a_name_needs_a_user_in_the_url(remote: Remote) -> None:
    """It is told so in words."""
    told = complaint(
        run(
            *("--database-url", remote.url(login=""), "keys", "list"),
            command=(sys.executable, "-c", AS_STRANGER),
            variables=dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), ""),
        )
    )
    assert "names no user" in told
    assert "getpwuid" not in told


def test_schema_of_its_own_is_a_setting(remote: Remote, nonito: Nonito) -> None:
    """All of it is made there, and nothing elsewhere."""
    asyncio.run(fetch(remote.url(), "CREATE SCHEMA app"))
    url = remote.url("?options=-c%20search_path%3Dapp")
    assert "the database is empty" in nonito("--database-url", url, "check").stdout
    succeed(nonito("--database-url", url, "migrate"))
    succeed(nonito("--database-url", url, "keys", "create", "--app", "x"))
    succeed(nonito("--database-url", url, "check"))

    async def store() -> None:
        link = make_link(make_postgres(url))
        await copy(link, make_event())
        await link.close()

    asyncio.run(store())
    (row,) = asyncio.run(fetch(remote.url(), "SELECT count(*) AS stored FROM app.events"))
    assert row["stored"] == 1


def test_other_form_has_its_mistakes_told_as_well() -> None:
    """Where it is likely one, and no piece of a password."""
    with pytest.raises(StartupError, match=r"'sslmod' .*did you mean sslmode"):
        DatabaseUrl(f"host=h password={SECRET} sslmod=require")


def test_parameters_that_an_old_psql_does_not_know_come_by_the_environment(remote: Remote) -> None:
    """A newer one heeds them; and one that holds a secret is on no command line."""
    url = remote.url(
        "?sslnegotiation=postgres&require_auth=scram-sha-256&load_balance_hosts=random"
    )
    at = ("--database-url", url, "psql", "-X", "-A", "-t", "-c")
    assert succeed(run(*at, "SELECT 1")) == "1\n"
    shown = succeed(run(*at, r"\! printenv PGREQUIREAUTH PGSSLNEGOTIATION PGCONNECT_TIMEOUT"))
    assert shown.splitlines() == ["scram-sha-256", "postgres", "10"]


def test_fetch_of_the_tests_reaches_it_too(remote: Remote) -> None:
    """The password is what the tests believe it to be."""
    assert asyncio.run(fetch(remote.url(), "SELECT 1 AS one"))[0]["one"] == 1
