"""`ops/kubernetes.yaml`: it fits the server, its image and itself."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest import config
from ingest.config import Config
from tests.conftest import StartServer
from tests.observe.test_monitor import free_port, get
from tests.ops.prometheus import OPS
from tests.support.server import ROOT

Object = dict[str, Any]
MANIFEST = (OPS / "kubernetes.yaml").read_text()
OBJECTS: list[Object] = list(yaml.safe_load_all(MANIFEST))
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def named(kind: str, name: str = "nonito") -> Object:
    """Return the one object of a kind and name."""
    (found,) = [
        each for each in OBJECTS if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


POD: Object = named("StatefulSet")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
ENVIRONMENT: dict[str, str] = {each["name"]: each["value"] for each in CONTAINER["env"]}
PROBES = {
    name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
}


def settings() -> Config:
    """Return the configuration that the pod's environment makes; the server would start with it."""
    return config.load(None, ENVIRONMENT | named("Secret")["stringData"], {})


def test_its_environment_is_a_configuration_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its ports are those that the server listens on."""
    monkeypatch.chdir(tmp_path)
    found = settings()
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert ports == {"http": found.server.port, "metrics": found.metrics.port}
    assert found.server.host == found.metrics.host == "0.0.0.0"
    assert found.database.url
    assert POD["metadata"]["annotations"]["prometheus.io/port"] == str(found.metrics.port)


def test_probes_are_answered_where_they_ask(database_url: str, start_server: StartServer) -> None:
    """By a real server with an address for operators; readiness by `/readyz`, life never by it."""
    port = free_port()
    start_server(database_url, metrics__port=port)
    for probe in PROBES.values():
        assert probe["port"] == "metrics"
        assert get(port, probe["path"]).status == 200
    assert PROBES["readiness"]["path"] == "/readyz"
    assert PROBES["liveness"]["path"] == PROBES["startup"]["path"] == "/healthz"
    path = POD["metadata"]["annotations"]["prometheus.io/path"]
    assert b"nonito_build_info" in get(port, path).body


def test_services_and_budget_select_its_pods() -> None:
    """By labels that the pods have, and ports that they name."""
    labels = POD["metadata"]["labels"].items()
    ports = {each["name"] for each in CONTAINER["ports"]}
    selectors = [named("StatefulSet")["spec"]["selector"]["matchLabels"]]
    selectors += [named("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    for name in ("nonito", "nonito-pods"):
        service = named("Service", name)["spec"]
        selectors.append(service["selector"])
        assert {each["targetPort"] for each in service["ports"]} <= ports
    assert all(selector.items() <= labels for selector in selectors)
    assert named("StatefulSet")["spec"]["serviceName"] == "nonito-pods"
    public = {each["targetPort"] for each in named("Service")["spec"]["ports"]}
    assert public == {"http"}


def test_spool_is_on_a_volume_that_stays() -> None:
    """Where the image has it, and larger than the spool may get."""
    (mount,) = CONTAINER["volumeMounts"]
    (claim,) = named("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert mount["name"] == claim["metadata"]["name"]
    assert f"VOLUME {mount['mountPath']}\n" in DOCKERFILE
    assert f"WORKDIR {mount['mountPath']}\n" in DOCKERFILE
    size = claim["spec"]["resources"]["requests"]["storage"]
    assert size.endswith("Gi")
    found = config.load(OPS.parent / "config.toml", ENVIRONMENT, {}).spool
    assert found.bytes_max + found.free_bytes_min < int(size[:-2]) << 30


def test_pod_has_time_to_stop_and_no_links_of_services() -> None:
    """preStop, then all that a stop may take; no NONITO_PORT=tcp://… from a Service."""
    spec = POD["spec"]
    assert spec["enableServiceLinks"] is False
    wait_s = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    grace_s = spec["terminationGracePeriodSeconds"]
    server = settings().server
    assert server.drain_s > 0
    assert grace_s >= wait_s + server.drain_s + server.shutdown_timeout_s + 10
    assert spec["securityContext"]["runAsNonRoot"] is True
