"""Records an outage for `ops/alerts_test.yml`: `python -m tests.ops.record`, about ten minutes.

A real server with a small spool, a real Prometheus that scrapes it every five seconds, and a
Postgres that is stopped and started again: what Prometheus saw of every metric that an alert names
becomes the series that `promtool test rules` plays to the alerts, with what fired then.
"""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from ingest.store.cluster import Cluster
from tests.conftest import OWN_DATABASE, make_key, prepare
from tests.http.checks import query
from tests.ops.prometheus import OPS, RULES, Prometheus, running_prometheus
from tests.support.postgres import make_postgres, running_cluster
from tests.support.server import Server, running_server

STEP_S = 5
BEFORE_S, OUTAGE_S, AFTER_S = 60, 300, 420
SETTINGS = {"spool.bytes_max": 8_000_000, "spool.free_bytes_min": 1_000_000}
LOAD = {"event_name": "a", "event_params": {"padding": "a" * 20_000}}
BAD = {"event_name": "bad"}
HEAD = """\
# An outage of Postgres as a Prometheus saw it, and what the alerts make of it: promtool test rules.
# Recorded from a real server by `python -m tests.ops.record`; Postgres was away from {away} on,
# and back at {back}.
"""


@contextmanager
def load(server: Server) -> Iterator[None]:
    """Send two events a second, and now and then one that a CHECK refuses."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.wait(0.5):
            number += 1
            server.post(BAD if number % 100 == 0 else LOAD)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def notation(values: list[str]) -> str:
    """Return values in promtool's notation, equal ones together."""
    runs = ((value, len(list(run))) for value, run in groupby(values))
    return " ".join(value if n == 1 else f"{value}+0x{n - 1}" for value, n in runs)


def named() -> list[str]:
    """Return the metrics that the alerts name."""
    return sorted(set(re.findall(r"\bnonito_[a-z_]+|\bup\b(?=\{)", RULES.read_text())))


def series(prometheus: Prometheus, start_s: float, end_s: float) -> Iterator[dict[str, str]]:
    """Yield what Prometheus saw of each."""
    steps = round((end_s - start_s) / STEP_S) + 1
    for name in named():
        for found in prometheus.history(name, start_s, end_s, STEP_S):
            labels = {k: v for k, v in found["metric"].items() if k != "__name__"}
            labels["instance"] = "nonito:8080"
            values = {round((float(at) - start_s) / STEP_S): value for at, value in found["values"]}
            text = ", ".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
            line = [values.get(step, "_") for step in range(steps)]
            if name.startswith(("up", "nonito_requests_total")) and set(line) == {"0"}:
                continue
            yield {"series": f"{name}{{{text}}}", "values": notation(line)}


def fired(prometheus: Prometheus, start_s: float, end_s: float) -> dict[int, list[str]]:
    """Return which alerts fired at the moments at which that changed, and half a minute later."""
    found: dict[int, set[str]] = {}
    for each in prometheus.history('ALERTS{alertstate="firing"}', start_s, end_s, STEP_S):
        for at, _ in each["values"]:
            moment = round(float(at) - start_s)
            found.setdefault(moment, set()).add(each["metric"]["alertname"])
    steps = range(0, round(end_s - start_s) + 1, STEP_S)
    return {at: sorted(found.get(at, set())) for at in steps}


def tests(alerts: dict[int, list[str]]) -> list[dict[str, object]]:
    """Return what promtool is to check, well within each stretch in which nothing changed."""
    rules = {
        rule["alert"]: rule
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
    }
    checks = []
    for _, run in groupby(alerts.items(), key=lambda item: item[1]):
        stretch = list(run)
        if len(stretch) < 7:  # where a scrape's place in its interval decides
            continue
        at, firing = stretch[len(stretch) // 2]
        for name, rule in rules.items():
            check: dict[str, object] = {"eval_time": f"{at}s", "alertname": name}
            if name in firing:
                summary = rule["annotations"]["summary"]
                labels = {"job": "nonito", "instance": "nonito:8080", **rule["labels"]}
                annotations = {
                    "summary": summary.replace("{{ $labels.instance }}", "nonito:8080"),
                    "mend": rule["annotations"]["mend"],
                }
                check["exp_alerts"] = [{"exp_labels": labels, "exp_annotations": annotations}]
            checks.append(check)
    return checks


def record(prometheus: Prometheus, server: Server, cluster: Cluster) -> dict[str, object]:
    """Go through the outage and return it as promtool reads it."""
    begun_s = time.time()
    with load(server):
        time.sleep(BEFORE_S)
        cluster.stop()
        time.sleep(OUTAGE_S)
        cluster.start()
        time.sleep(AFTER_S)
    end_s = begun_s + BEFORE_S + OUTAGE_S + AFTER_S - STEP_S
    alerts = fired(prometheus, begun_s, end_s)
    return {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": f"{STEP_S}s",
        "tests": [
            {
                "interval": f"{STEP_S}s",
                "input_series": list(series(prometheus, begun_s, end_s)),
                "alert_rule_test": tests(alerts),
            }
        ],
    }


def main() -> None:
    """Record, and write the file."""
    with running_cluster() as cluster, TemporaryDirectory() as directory:
        cluster.create_database(OWN_DATABASE)
        url = cluster.url(OWN_DATABASE)
        asyncio.run(prepare(make_postgres(url)))
        query(url, "ALTER TABLE events ADD CHECK (event_name <> 'bad')")
        with (
            running_server(("--database-url", url), make_key(url), SETTINGS) as server,
            running_prometheus(server, 19090, Path(directory), interval_s=STEP_S) as prometheus,
        ):
            found = record(prometheus, server, cluster)
    head = HEAD.format(away=f"{BEFORE_S}s", back=f"{BEFORE_S + OUTAGE_S}s")
    text = yaml.safe_dump(found, sort_keys=False, width=100_000)
    (OPS / "alerts_test.yml").write_text(head + text)


if __name__ == "__main__":
    main()
