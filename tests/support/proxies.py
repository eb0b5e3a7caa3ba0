"""Real proxies in front of servers, with the configurations of `ops/` as they stand there."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.raw import HOST
from tests.support.server import ROOT

_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
NGINX: Final = shutil.which("nginx", path=_PATH)
HAPROXY: Final = shutil.which("haproxy", path=_PATH)
"""None where they are not installed (Debian: nginx-light, haproxy)."""

_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Below those that the kernel gives to clients: one of theirs could be a stopped server's."""
_START_TIMEOUT_S: Final = 10.0
_BACKENDS: Final = ("10.80.80.11:8080", "10.80.80.12:8080")
_NGINX_MAIN: Final = """
{user}
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/ours.conf;
}}
"""


@dataclass
class Proxy:
    """A running proxy."""

    process: subprocess.Popen[bytes]
    url: str
    port: int
    key: str
    """Of the servers behind it."""


def free_port() -> int:
    """Return a port that a server may have again and again."""
    for port in range(_FIRST_PORT + os.getpid() * 7 % 10_000, _LAST_PORT):
        with socket.socket() as bound, suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((HOST, port))
            return port
    raise AssertionError("no port is free")


@contextmanager
def running_nginx(ports: Sequence[int] | Path, key: str) -> Iterator[Proxy]:
    """Run nginx with `ops/nginx.conf` in front of two servers, or of one at a path."""
    assert NGINX is not None
    with TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        ours = _readdressed("nginx.conf", ports, "listen 80;", f"listen {HOST}:{port};")
        (directory / "ours.conf").write_text(ours, encoding="utf-8")
        user = "user root;" if os.geteuid() == 0 else ""
        main = directory / "nginx.conf"
        main.write_text(_NGINX_MAIN.format(user=user, directory=directory), encoding="utf-8")
        with _running([NGINX, "-c", str(main), "-p", name], port, key) as proxy:
            yield proxy


@contextmanager
def running_haproxy(ports: Sequence[int] | Path, key: str) -> Iterator[Proxy]:
    """Run haproxy with `ops/haproxy.cfg` in front of two servers, or of one at a path."""
    port = free_port()
    ours = _readdressed("haproxy.cfg", ports, "bind :80 ", f"bind {HOST}:{port} ")
    with haproxy(ours, port, key) as proxy:
        yield proxy


@contextmanager
def haproxy(configuration: str, port: int, key: str) -> Iterator[Proxy]:
    """Run haproxy with any configuration that listens on a port."""
    assert HAPROXY is not None
    with TemporaryDirectory() as name:
        file = Path(name) / "haproxy.cfg"
        file.write_text(configuration, encoding="utf-8")
        with _running([HAPROXY, "-db", "-f", str(file)], port, key) as proxy:
            yield proxy


def _readdressed(name: str, ports: Sequence[int] | Path, listening: str, here: str) -> str:
    """Return a configuration of `ops/` with nothing but its addresses changed.

    For a path the line that is there as a comment stands for the others.
    """
    text = (ROOT / "ops" / name).read_text(encoding="utf-8")
    if isinstance(ports, Path):
        assert text.count(listening) == 1
        text = re.sub(r"(?m)^ +server .*10\.80\.80\..*\n", "", text.replace(listening, here))
        text, count = re.subn(r"# (server .*)/run/nonito\.sock", rf"\g<1>{ports}", text)
        assert count == 1
        return text
    servers = {there: f"{HOST}:{port}" for there, port in zip(_BACKENDS, ports, strict=True)}
    for there, instead in {listening: here, **servers}.items():
        assert text.count(there) == 1, there
        text = text.replace(there, instead)
    return text


@contextmanager
def _running(command: list[str], port: int, key: str) -> Iterator[Proxy]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            _wait_until_accepting(process, port)
            yield Proxy(process, f"http://{HOST}:{port}", port, key)
        finally:
            process.terminate()


def _wait_until_accepting(process: subprocess.Popen[bytes], port: int) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while True:
        with socket.socket() as client:
            if client.connect_ex((HOST, port)) == 0:
                return
        assert process.poll() is None, "the proxy ended at once"
        assert time.monotonic() < end_s, "the proxy does not listen"
        time.sleep(0.05)
