"""Configuration: where to listen, and what of that can be seen to be a mistake before a start."""

from pathlib import Path

import pytest

from ingest import config
from tests.support.configuration import NO_FILE, refusal


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("8080", "a port is missing"),
        ("[::1]", "a port is missing"),
        ("::1:8080", "an IPv6 address stands in brackets"),
        ("[host]:80", "is no host"),
        ("a b:80", "a port is missing"),
        ("h@x:80", "is no host"),
        ("h:", "is no port"),
        ("h:65536", "is no port"),
        ("h:-1", "is no port"),
        ("http://h:80", "write host:port"),
        ("unix:run/x.sock", "is absolute"),
        ("unix:", "is absolute"),
        ("unix:/run/", "no path of a file"),
        ("unix:/" + "ä" * 54, "109 bytes"),
        ("h:80, h:80", "twice"),
        ("unix:/x, unix:///x", "twice"),
        (":80, 127.0.0.1:80", "overlap"),
        ("[::]:80, 0.0.0.0:80", "overlap"),
        ("0.0.0.0:80, h:80", "overlap"),
    ],
)
def test_mistake_in_an_address_is_one_line_that_says_what_is_wrong(
    text: str, told: str, file: Path
) -> None:
    """Before anything is bound; from the file and from the environment."""
    line = refusal(file, f"[server]\nlisten = '{text}'\n")
    assert line.startswith("server.listen: ")
    assert told in line
    assert refusal(file, "", {"NONITO_SERVER_LISTEN": text}) == line


@pytest.mark.parametrize(
    "listen",
    [
        [],
        [":0", "127.0.0.1:0"],
        ["127.0.0.1:80", "127.0.0.2:80", "[::1]:80", "unix:/" + "x" * 106],
        ["0.0.0.0:80", "[::1]:80", ":81", "*:82", "[fe80::1%eth0]:80", "a-b.example:83"],
    ],
)
def test_addresses_that_stand_beside_each_other_are_taken(listen: list[str]) -> None:
    """Of one port, on one host, and of both families."""
    assert config.load(NO_FILE, {}, {"server.listen": listen}).server.listen == listen


@pytest.mark.parametrize(("name", "value"), [("host", "10.0.0.1"), ("port", 80), ("port", 0)])
def test_two_ways_to_say_where_to_listen_are_one_too_many(
    name: str, value: object, file: Path
) -> None:
    """Rather than one of them ignored; what images of containers set is nobody's choice."""
    line = refusal(file, f"[server]\nlisten = [':1']\n{name} = {value!r}\n")
    assert "server.listen" in line
    assert f"server.{name} = {value!r}" in line
    usual = {"NONITO_SERVER_HOST": "0.0.0.0", "NONITO_SERVER_PORT": "8080"}
    listening = usual | {"NONITO_SERVER_LISTEN": ":1"}
    assert config.load(NO_FILE, listening, {}).server.listen == [":1"]


@pytest.mark.parametrize("mode", ["rw", "88", "0888", "77777", "660 x", "-660"])
def test_mode_is_written_as_chmod_has_it(mode: str, file: Path) -> None:
    """And a number, which TOML would read as a decimal, is none."""
    assert "as 0660" in refusal(file, f"[server]\nunix_mode = '{mode}'\n")
    assert "unix_mode" in refusal(file, "[server]\nunix_mode = 660\n")


def test_network_of_proxies_that_is_none_is_one_line(file: Path) -> None:
    """Rather than nobody's, which would have all behind the proxy wait."""
    line = refusal(file, "[dashboard]\ntrusted_proxies = ['10.0.0.1/8']\n")
    assert line.startswith("dashboard.trusted_proxies: 10.0.0.1/8")
    assert "\n" not in line
