"""The alerts and the dashboard: they name what there is, and say what happens in a real outage."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, StartServer
from tests.http.checks import query
from tests.observe.test_monitor import free_port
from tests.ops.prometheus import OPS, RULES, Prometheus, is_installed, running_prometheus
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.slow

INTERVAL_S = 0.3
FACTOR = 100.0
"""A minute of an alert is 0.6 seconds here."""
ALERT_TIMEOUT_S = 60.0
PLAYED = [OPS / "alerts_test.yml", Path(__file__).parent / "alerts_more_test.yml"]
NAME = re.compile(r"\b(?:nonito|process)_[a-z_]+\b(?!\")")

needs_prometheus = pytest.mark.skipif(not is_installed(), reason="no prometheus")


def promtool(*arguments: object) -> str:
    """Run promtool; return what it says, and fail if it complains."""
    ended = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def alerts() -> dict[str, Any]:
    """Return the alerts by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels but for the rows."""
    found = json.loads((OPS / "grafana.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return every query of the dashboard, with its variables filled in."""
    return [
        target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5s")
        for panel in panels()
        for target in panel["targets"]
    ]


@needs_prometheus
def test_rules_and_configuration_are_valid(tmp_path: Path) -> None:
    """The dashboard's queries too, as rules that record them."""
    promtool("check", "config", OPS / "prometheus.yml")
    promtool("check", "rules", RULES)
    rules = [{"record": f"q{at}", "expr": expr} for at, expr in enumerate(expressions())]
    written = tmp_path / "queries.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", written)


@needs_prometheus
def test_exposition_has_nothing_that_promtool_complains_of(shared_server: Server) -> None:
    """No odd name, no unit that is not a base unit, no missing help."""
    text = shared_server.get("/metrics").text
    ended = subprocess.run(
        ["promtool", "check", "metrics"],
        input="".join(line + "\n" for line in text.splitlines() if "nonito_" in line),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_every_metric_that_is_named_is_there(shared_server: Server) -> None:
    """In a scrape of a server to which nothing has happened: nothing is missing at first."""
    there = set(re.findall(r"(?m)^([a-z_]+)", shared_server.get("/metrics").text))
    queries = [*(rule["expr"] for rule in alerts().values()), *expressions()]
    named = {name for each in queries for name in NAME.findall(each)}
    assert len(named) > 30
    assert named - there == set()


def test_readme_names_every_metric(shared_server: Server) -> None:
    """And none that is not there."""
    scraped = re.findall(r"(?m)^# TYPE nonito_([a-z_]+)", shared_server.get("/metrics").text)
    readme = (OPS.parent / "README.md").read_text().partition("| metric (prefix")[2]
    table = readme.partition("\n\n")[0]
    documented = {
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`([a-z_]+)(?:\{[a-z, ]+\})?`", line)
    }
    settings = {"other", "page", "bytes_max"}
    assert documented - settings == set(scraped)


def test_panels_are_whole() -> None:
    """Each with its own number, its place, a title, and a query for each line."""
    found = json.loads((OPS / "grafana.json").read_text())["panels"]
    places = [
        (x, y)
        for panel in found
        for at in (panel["gridPos"],)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len({panel["id"] for panel in found}) == len(found)
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    assert all(panel["title"] and panel["targets"] for panel in panels())


@needs_prometheus
def test_recorded_outage_fires_what_it_should() -> None:
    """A real outage, minute for minute; and what no outage shows, in series made for it."""
    for each in PLAYED:
        assert "SUCCESS" in promtool("test", "rules", each)


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    """In what is played to them."""
    checks = [
        check
        for path in PLAYED
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test["alert_rule_test"]
    ]
    fired = {check["alertname"] for check in checks if check.get("exp_alerts")}
    quiet = {check["alertname"] for check in checks if not check.get("exp_alerts")}
    assert fired == quiet == alerts().keys()


@pytest.fixture
def watched(
    own_cluster: Cluster, start_server: StartServer, tmp_path: Path
) -> Iterator[tuple[Server, Prometheus]]:
    """A server with a small spool, and a Prometheus that scrapes it all the time."""
    url = own_cluster.url(OWN_DATABASE)
    query(url, "ALTER TABLE events ADD CHECK (event_name <> 'bad')")
    server = start_server(url, spool__bytes_max=3_000_000, spool__free_bytes_min=0)
    with running_prometheus(
        server, free_port(), tmp_path, interval_s=INTERVAL_S, factor=FACTOR
    ) as prometheus:
        yield server, prometheus


def fill_spool(server: Server) -> None:
    """Send large events until the spool takes none."""
    for _ in range(100):
        if server.post({"event_name": "a", "event_params": {"a": "a" * 50_000}}).status_code == 503:
            return
    raise AssertionError("the spool never filled")


@needs_prometheus
def test_prometheus_sees_an_outage_and_its_end(
    watched: tuple[Server, Prometheus], own_cluster: Cluster
) -> None:
    """Alerts fire and resolve; the dashboard shows all of it; a dead server is noticed."""
    server, prometheus = watched
    assert server.post({"event_name": "bad"}).status_code == 202
    wait_for(lambda: "NonitoDeadLetters" in prometheus.firing(), ALERT_TIMEOUT_S)
    own_cluster.stop()
    server.post({"event_name": "a"})
    wait_for(lambda: "NonitoPostgresAway" in prometheus.firing(), ALERT_TIMEOUT_S)
    assert "NonitoRefusesEvents" not in prometheus.firing()
    fill_spool(server)
    full = {"NonitoTakesNothing", "NonitoRefusesEvents", "NonitoSpoolFills"}
    wait_for(lambda: full <= prometheus.firing(), ALERT_TIMEOUT_S)
    for expression in expressions():
        assert prometheus.query(expression), expression
    own_cluster.start()
    # The server's own alarm for the refused row lasts for a minute.
    wait_for(lambda: prometheus.firing() <= {"NonitoRowsRefused"}, ALERT_TIMEOUT_S)
    server.kill()
    wait_for(lambda: prometheus.firing() == {"NonitoDown"}, ALERT_TIMEOUT_S)
