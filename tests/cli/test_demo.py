"""`nonito demo`: one command, and a server with two weeks of a shop's events is there."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import requests

from tests.support.command import Nonito, complaint, run, succeed
from tests.support.postgres import passable_directory
from tests.support.server import COMMAND, ROOT, environment, wait_for

pytestmark = pytest.mark.slow

EVENTS: Final = 4_000
STEPS: Final = ("product_view", "add_to_cart", "checkout_started", "order_completed")
OTHERS: Final = "postgresql://nobody@127.0.0.1:1/not_of_a_demo"
"""An operator's database, which no demo may touch."""
PORTS: Final = ("--port", "0", "--dashboard-port", "0")
TOLD: Final = re.compile(
    r"has ([\d,]+) events of the last 14 days|events of the time since then: ([\d,]+)"
)


class Demo:
    """A demo that runs and has greeted."""

    def __init__(self, process: subprocess.Popen[str], greeting: str) -> None:
        self.process = process
        self.greeting = greeting
        found = TOLD.search(greeting)
        assert found, greeting
        self.filled = int((found[1] or found[2]).replace(",", ""))
        self.is_new = found[1] is not None

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.greeting)
        assert found, self.greeting
        return found[0]

    @property
    def dashboard(self) -> str:
        """Where it is, by whatever follows."""
        (line,) = re.findall(r"Dashboard: +(http://[^/ ]+)", self.greeting)
        return str(line)

    @property
    def link(self) -> str:
        """The link that opens once."""
        return self._found(r"http://\S+/welcome/\S+")

    @property
    def events_url(self) -> str:
        """Where it takes events."""
        return self._found(r"http://\S+(?=/event\b)")

    @property
    def write_key(self) -> str:
        """The key that it shows to send with."""
        return self._found(r"nk_\w+")

    def ask(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Ask a question with the key that it shows."""
        headers = {"X-API-Key": self._found(r"nr_\w+")}
        answer = requests.get(f"{self.dashboard}/v1/{path}", headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


def stop(process: subprocess.Popen[str]) -> int:
    """Press Ctrl-C, and return the exit code when all that it started has ended."""
    started = psutil.Process(process.pid).children(recursive=True)
    assert len(started) >= 3  # the supervisor, a worker, the insights process
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    assert [each for each in started if each.is_running()] == []
    return code


@contextmanager
def running_demo(directory: Path, *arguments: str) -> Iterator[Demo]:
    """Run `nonito demo` in a directory, on free ports, until it has greeted."""
    with started_demo(directory, *arguments) as process:
        yield Demo(process, read_until(process, "to be rid of it"))


@contextmanager
def started_demo(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start it."""
    process = subprocess.Popen(
        [*COMMAND, "demo", "--directory", str(directory), *PORTS, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "tests",
        env=environment() | {"PYTHONPATH": str(ROOT), "DATABASE_URL": OTHERS},
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


def read_until(process: subprocess.Popen[str], last: str) -> str:
    """Return what is said up to the line that has this in it."""
    assert process.stdout is not None
    said = ""
    while last not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


def postmaster_is_alive(directory: Path) -> bool:
    """Return whether the demo's Postgres runs."""
    return (directory / "postgres" / "postmaster.pid").exists()


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory for demos, below which nothing runs at the end."""
    with passable_directory() as found:
        yield found / "demo"


@pytest.fixture(scope="module")
def first(directory: Path) -> Iterator[Demo]:
    """A demo that is new."""
    with running_demo(directory, "--events", str(EVENTS)) as demo:
        yield demo


def stored(directory: Path, what: str = "count(*)", where: str = "true") -> str:
    """Return what Postgres itself says of the events."""
    config = ("--config", str(directory / "config.toml"))
    statement = f"SELECT {what} FROM events WHERE {where}"
    return succeed(run(*config, "psql", "--csv", "--tuples-only", "-c", statement)).strip()


def test_demo_has_what_it_says_of_the_last_two_weeks(first: Demo, directory: Path) -> None:
    """All that was sent, nothing of another time, and answers count the same."""
    assert first.is_new
    assert first.filled == pytest.approx(EVENTS, rel=0.15)
    is_past = "timestamp IS NOT NULL"  # what is live has none
    span = "count(*), min(timestamp) > now() - interval '14 days 1 hour', max(timestamp) <= now()"
    assert stored(directory, span, is_past) == f"{first.filled},t,t"
    orders = "event_name = 'order_completed'"
    counted = int(stored(directory, where=f"{orders} AND {is_past}"))
    (series,) = first.ask("trends?event=order_completed&interval=day")["series"]
    assert 0 < counted <= series["total"] <= int(stored(directory, where=orders))


def test_people_drop_off_come_back_and_have_names_of_all_kinds(first: Demo) -> None:
    """As the server's own answers have it."""
    funnel = first.ask("funnel?" + "&".join(f"step={step}" for step in STEPS))
    people = [step["people"] for step in funnel["groups"][0]["steps"]]
    assert people[0] > people[1] > people[2] > people[3] > 0
    retention = first.ask("retention?first=page_view&then=page_view&interval=day")
    assert sum(sum(cohort["back"][1:]) for cohort in retention["cohorts"]) > 0
    names = str(first.ask("names"))
    assert "Köln" in names
    assert "checkout_test" in names


def test_visitors_go_on_and_some_of_what_they_send_is_refused(first: Demo, directory: Path) -> None:
    """By single events, which happen just now."""
    live = "timestamp IS NULL AND created_at > now() - interval '5 minutes'"
    wait_for(lambda: int(stored(directory, where=live)) > 3, 60)

    def refused() -> bool:
        text = requests.get(f"{first.events_url}/metrics", timeout=30).text
        return bool(
            re.search(r'^nonito_requests_total\{.*status="400".*\} [1-9]', text, re.MULTILINE)
        )

    wait_for(refused, 100)


def test_link_opens_the_dashboard_and_is_told_while_nobody_has_an_account(first: Demo) -> None:
    """Once; the key that is shown sends at once."""
    assert requests.get(first.link, timeout=30).status_code == 200
    answer = requests.post(
        f"{first.events_url}/event",
        json={"event_name": "of_my_own"},
        headers={"X-API-Key": first.write_key},
        timeout=30,
    )
    assert answer.status_code == 200


@pytest.mark.timeout(240)  # two servers, one after the other
def test_demo_is_stopped_and_goes_on_with_the_next_start(nonito: Nonito) -> None:
    """What was filled is there once, with its keys, and nothing goes on behind Ctrl-C."""
    with passable_directory() as parent:
        directory = parent / "demo"
        with running_demo(directory, "--events", "500", "--seed", "7") as demo:
            told = complaint(nonito("demo", "--directory", str(directory), "--anew"))
            assert "a demo is running" in told
            assert stop(demo.process) == 0
            assert not postmaster_is_alive(directory)
        told = complaint(nonito("demo", "--directory", str(directory), *PORTS, "--seed", "8"))
        assert "--seed 7" in told
        with running_demo(directory) as again:
            assert not again.is_new
            assert again.write_key == demo.write_key
            is_past = "timestamp IS NOT NULL"
            assert int(stored(directory, where=is_past)) == demo.filled + again.filled
            assert again.filled < demo.filled / 10
            assert stop(again.process) == 0


def test_demo_is_begun_anew_on_whatever_is_left_of_another() -> None:
    """Also where nothing of that can be used any more."""
    with passable_directory() as parent:
        directory = parent / "demo"
        (directory / "postgres" / "base").mkdir(parents=True)
        (directory / "demo.json").write_text("{")
        told = complaint(run("demo", "--directory", str(directory), *PORTS))
        assert "--anew" in told
        with running_demo(directory, "--anew", "--events", "300") as demo:
            assert demo.is_new
            assert int(stored(directory, where="timestamp IS NOT NULL")) == demo.filled


@pytest.mark.timeout(240)  # two servers, one after the other
def test_filling_that_was_broken_off_is_ended_by_the_next_start() -> None:
    """With the same events, of which none is there twice."""
    with passable_directory() as parent:
        directory = parent / "demo"
        with started_demo(directory, "--events", "20000") as process:
            read_until(process, "Filling")
            assert stop(process) == 0
        with running_demo(directory) as demo:
            assert demo.is_new
            assert int(stored(directory, where="timestamp IS NOT NULL")) == demo.filled > 10_000


def test_directory_of_something_else_is_left_alone(nonito: Nonito, tmp_path: Path) -> None:
    """Nothing is made there, nor thrown away."""
    kept = tmp_path / "postgres"
    kept.mkdir()
    for arguments in ((), ("--anew",)):
        told = complaint(nonito("demo", "--directory", str(tmp_path), *arguments))
        assert "is no demo's" in told
        assert "--directory" in told
    assert [*tmp_path.iterdir()] == [kept]
    assert "Not a directory" in complaint(nonito("demo", "--directory", "/dev/null/demo"))


@pytest.mark.parametrize("option", ["--port", "--dashboard-port"])
def test_port_that_is_taken_is_one_line(nonito: Nonito, tmp_path: Path, option: str) -> None:
    """It names the option, and nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = {"--port": "0", "--dashboard-port": "0"} | {option: str(port)}
        arguments = [each for pair in free.items() for each in pair]
        told = complaint(nonito("demo", "--directory", str(tmp_path / "demo"), *arguments))
    assert f"127.0.0.1:{port}" in told
    assert f"with {option}" in told
    assert not (tmp_path / "demo" / "postgres").exists()


def test_operator_s_database_is_none_for_a_demo(nonito: Nonito, tmp_path: Path) -> None:
    """Neither by an option; by the environment none of these tests has any."""
    told = complaint(nonito("--database-url", OTHERS, "demo", "--directory", str(tmp_path / "d")))
    assert "leave out --database-url" in told
    assert not (tmp_path / "d").exists()
