"""The exposition: each scraper gets the format and encoding that it asks for, and nobody a 500."""

import gzip

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.http.cases import HOST, join
from tests.http.checks import assert_refusal
from tests.support.raw import Answer, connected
from tests.support.server import Server

TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Debian 12's Prometheus sends."""
ODD_ACCEPTS = [
    "application/openmetrics-text;version=a",
    "application/openmetrics-text;version=9.0.0a",
    "application/openmetrics-text;version=2.0.0",
    "application/openmetrics-text;version=" + "9" * 5000,
    "application/openmetrics-text;q=0",
    "text/plain;version=1.0.0 b",
    "text/plain;version",
    ";;,,=;version==",
    "image/png",
    "*/*",
    "",
]


def scrape(server: Server, *headers: str, path: str = "/metrics") -> Answer:
    """Scrape with headers, verbatim."""
    lines = [header.encode() for header in headers]
    with connected(server.port) as client:
        return client.ask(join(b"GET %b HTTP/1.1" % path.encode(), HOST, *lines))


def test_whoever_asks_for_nothing_gets_the_text_that_every_version_reads(
    shared_server: Server,
) -> None:
    """0.0.4, not 1.0.0, which Prometheus before 3.0 does not know."""
    answer = scrape(shared_server)
    assert answer.status == 200
    assert answer.headers["content-type"] == TEXT
    assert "content-encoding" not in answer.headers
    assert list(text_families(answer.body.decode()))


def test_prometheus_gets_openmetrics_gzipped(shared_server: Server) -> None:
    """Which its strict parser takes, down to the last line."""
    answer = scrape(shared_server, f"Accept: {PROMETHEUS}", "Accept-Encoding: gzip")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    text = gzip.decompress(answer.body).decode()
    names = {family.name for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]
    assert {"nonito_events_accepted", "nonito_batch_events", "process_cpu_seconds"} <= names


def test_accept_in_two_lines_is_one_list(shared_server: Server) -> None:
    """As with any header that is a list."""
    answer = scrape(
        shared_server, "Accept: image/png", "Accept: application/openmetrics-text;version=1.0.0"
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")


@pytest.mark.parametrize("accept", ODD_ACCEPTS, ids=lambda accept: accept[:50])
def test_odd_accept_gets_the_plain_text(shared_server: Server, accept: str) -> None:
    """No 500, and nothing of it comes back."""
    answer = scrape(shared_server, f"Accept: {accept}")
    assert (answer.status, answer.headers["content-type"]) == (200, TEXT)


@pytest.mark.parametrize(
    ("encodings", "is_gzipped"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br, zstd", False),
        ("identity", False),
        ("", False),
    ],
)
def test_gzip_is_for_those_who_ask_for_it(
    shared_server: Server, encodings: str, *, is_gzipped: bool
) -> None:
    """And not for those who say that they don't want it."""
    answer = scrape(shared_server, f"Accept-Encoding: {encodings}")
    assert ("content-encoding" in answer.headers) is is_gzipped
    assert answer.body.startswith(b"\x1f\x8b") is is_gzipped


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz"])
def test_only_the_plain_spelling_of_an_operator_s_path_leads_there(
    shared_server: Server, path: str
) -> None:
    """A proxy that keeps `/metrics` from the public has kept all of it."""
    for way_around in (
        path.replace("e", "%65", 1),
        path.replace("z", "%7A", 1) if "z" in path else path.replace("m", "%6D", 1),
        f"{path}#a",
        f"/.{path}",
        f"/x/..{path}",
        f"/{path}",
        f"{path}/",
        path.upper(),
        "/%2e" + path,
        "http://test/x/.." + path,
        "http://test" + path.replace("e", "%65", 1),
    ):
        assert_refusal(scrape(shared_server, path=way_around), 404, "not_found")
    for plain in (path, f"{path}?a=b", f"http://test{path}", f"http://test{path}?a"):
        assert scrape(shared_server, path=plain).status == 200
