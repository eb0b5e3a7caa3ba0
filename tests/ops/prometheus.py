"""A real Prometheus with the rules and the configuration of `ops/`, as Debian has it."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.server import ROOT, Server, wait_for

OPS = ROOT / "ops"
RULES = OPS / "alerts.yml"
START_TIMEOUT_S = 60.0
_DURATION = re.compile(r"(?<=for: )\d+[smh]\b|(?<=\[)\d+[smh](?=\])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600}

Series = dict[str, Any]


def is_installed() -> bool:
    """Whether there is a Prometheus."""
    return shutil.which("prometheus") is not None and shutil.which("promtool") is not None


def faster(text: str, factor: float) -> str:
    """Return rules or queries whose durations are so many times shorter, as for a test."""

    def shorten(found: re.Match[str]) -> str:
        seconds = int(found[0][:-1]) * _UNITS_S[found[0][-1]]
        return f"{max(1, round(seconds * 1000 / factor))}ms"

    return _DURATION.sub(shorten, text)


class Prometheus:
    """One that scrapes a server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: str | float) -> Any:  # noqa: ANN401 - any JSON value
        """Return the data of an answer."""
        answer = requests.get(f"{self._url}/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Series]:
        """Return the series of an instant query."""
        result: list[Series] = self.ask("query", query=expression)["result"]
        return result

    def history(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """Return the series of a range query."""
        span = {"start": start_s, "end": end_s, "step": step_s}
        result: list[Series] = self.ask("query_range", query=expression, **span)["result"]
        return result

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        alerts = self.ask("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def is_up(self) -> bool:
        """Whether it has scraped its target."""
        try:
            return any(each["value"][1] == "1" for each in self.query("up"))
        except requests.RequestException:
            return False


@contextmanager
def running_prometheus(
    server: Server, port: int, directory: Path, *, interval_s: float, factor: float = 1
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a server, with durations so many times shorter."""
    config = (OPS / "prometheus.yml").read_text().replace("127.0.0.1:8080", server.url[7:])
    every = f"{round(interval_s * 1000)}ms"
    (directory / "prometheus.yml").write_text(config.replace("15s", every))
    (directory / "alerts.yml").write_text(faster(RULES.read_text(), factor))
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        prometheus = Prometheus(port)
        try:
            wait_for(lambda: process.poll() is not None or prometheus.is_up(), START_TIMEOUT_S)
            assert process.poll() is None, (directory / "log").read_text()
            yield prometheus
        finally:
            process.terminate()
            process.wait(30)
