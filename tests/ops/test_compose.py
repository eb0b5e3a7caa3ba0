"""`compose.yaml`: it fits the servers, their image, nginx and itself."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ingest import config
from ingest.config import Config
from ingest.store import connection_budget
from tests.ops.prometheus import OPS
from tests.support.server import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVERS = {name: each for name, each in SERVICES.items() if "build" in each}
NGINX, POSTGRES = SERVICES["nginx"], SERVICES["postgres"]
NGINX_CONF = (OPS / "nginx.conf").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CORES = 32


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no config.toml lies, as in the container."""
    monkeypatch.chdir(tmp_path)


def settings(server: dict[str, Any]) -> Config:
    """Return the configuration that a server has in its container."""
    of_image = dict(re.findall(r"(NONITO_\w+)=(\S+)", DOCKERFILE))
    return config.load(None, of_image | server["environment"], {})


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return what is mounted, by where."""
    return {where: what for what, where, *_ in (each.split(":") for each in service["volumes"])}


def test_there_are_two_servers_of_one_image_and_one_database() -> None:
    """Their environment is a configuration; the database is the one that Postgres makes."""
    assert len(SERVERS) == 2
    assert len({each["image"] for each in SERVERS.values()}) == 1
    made = POSTGRES["environment"]
    for server in SERVERS.values():
        url = urlsplit(settings(server).database.url)
        assert SERVICES[url.hostname or ""] is POSTGRES
        assert (url.username, url.password) == (made["POSTGRES_USER"], made["POSTGRES_PASSWORD"])
        assert url.path == f"/{made['POSTGRES_DB']}"


def test_each_server_has_a_spool_of_its_own_and_all_have_one_archive() -> None:
    """On volumes that stay, where the image has directories of its user's."""
    *_, home = re.findall(r"(?m)^WORKDIR (\S+)$", DOCKERFILE)
    (owned,) = re.findall(r"install --directory --owner=nonito .*?\\\n\s*(.*)\n", DOCKERFILE)
    spools, archives = set(), set()
    for server in SERVERS.values():
        found, mounted = settings(server), mounts(server)
        assert not Path(found.spool.path).is_absolute()
        spools.add(mounted[home])
        archives.add(mounted[str(found.archive.path)])
        assert mounted.keys() <= {*owned.split()}
    assert len(spools) == len(SERVERS)
    assert len(archives) == 1
    assert spools | archives <= COMPOSE["volumes"].keys()


def test_nginx_asks_each_server_where_it_is() -> None:
    """At an address that no other container is given, and the port that it listens on."""
    (network,) = COMPOSE["networks"].values()
    (addresses,) = network["ipam"]["config"]
    subnet, others = ip_network(addresses["subnet"]), ip_network(addresses["ip_range"])
    asked = re.findall(r"(?m)^    server ([\d.]+):(\d+)", NGINX_CONF)
    given = []
    for server in SERVERS.values():
        (address,) = (each["ipv4_address"] for each in server["networks"].values())
        found = settings(server).server
        assert found.host == "0.0.0.0"  # nginx is another machine there
        assert ip_address(address) in subnet
        assert ip_address(address) not in others
        given.append((address, str(found.port)))
    assert asked == given


def test_clients_reach_nginx_and_nobody_else() -> None:
    """By the port that it listens on, with the file that is in `ops/`."""
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["nginx"]
    (published,) = NGINX["ports"]
    assert f"listen {published.split(':')[1]};" in NGINX_CONF
    (file,) = mounts(NGINX).values()
    assert (ROOT / file).samefile(OPS / "nginx.conf")


def test_servers_have_time_to_stop_and_postgres_has_connections_for_all() -> None:
    """Also on a machine with many cores, of each of which every server makes a worker."""
    needed = 0
    for server in SERVERS.values():
        found = settings(server)
        assert found.server.drain_s > 0  # or nginx meets a closed door
        stop_s = found.server.drain_s + found.server.shutdown_timeout_s
        assert int(server["stop_grace_period"].removesuffix("s")) > stop_s
        writers = found.writer.connections
        needed += connection_budget.needed(workers=CORES, writers=writers, has_insights=True)
    (allowed,) = re.findall(r"max_connections=(\d+)", " ".join(POSTGRES["command"]))
    assert needed <= int(allowed)
