"""The documentation page over HTTP: what it says, where it says it is served, how it is cached."""

import re

import pytest
import requests

from ingest.config import Config
from ingest.errors import STATUS, Code
from ingest.web.address import DEFAULT_HOST
from tests.conftest import StartServer
from tests.http.cases import join
from tests.support.raw import Answer, connected
from tests.support.server import Server
from tests.web.served import ServedPage, served_page

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
NOT_OF_SENDING = {Code.NOT_READY}
HOSTS = {
    b"events.example.com": "http://events.example.com/event",
    b"events.example.com:8443": "http://events.example.com:8443/event",
    b"10.0.0.7:80": "http://10.0.0.7:80/event",
    b"[::1]:8080": "http://[::1]:8080/event",
    b"my_host": "http://my_host/event",
}
NO_HOSTS = [
    b"",
    b"a b",
    b'"><script>alert(1)</script>',
    b"a'b",
    b"a&b",
    b"$(id)",
    b"`id`",
    b"a;b",
    b"a/b",
    b"a?b",
    b"user@host",
    b"\xc3\xa4.example",
    b"a" * 256,
]


def get(server: Server, path: str, *headers: bytes) -> Answer:
    """Get a path with exactly these headers."""
    with connected(server.port) as client:
        return client.ask(join(b"GET %b HTTP/1.1" % path.encode(), *headers))


def assets(server: Server) -> list[str]:
    """Return the addresses of the page's own files."""
    return [link for link in served_page(server).links if link.startswith("/docs/")]


def test_page_is_html_with_a_strict_policy(shared_server: Server) -> None:
    """And may not be framed, sniffed, or kept without asking."""
    answer = shared_server.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Vary"] == "Host, X-Forwarded-Proto"
    assert answer.headers["Server"] == "nonito"
    assert "{{" not in answer.text


def test_page_needs_nothing_from_elsewhere_and_has_nothing_inline(shared_server: Server) -> None:
    """Every link leads to this server or within the page; style and script are files."""
    page = served_page(shared_server)
    assert [link for link in page.links if not link.startswith(("/", "#"))] == []
    assert [link for link in page.links if link.startswith("//")] == []
    assert "style" not in page.elements | page.attributes
    assert [name for name in page.attributes if name.startswith("on")] == []
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.html)
    for path in assets(shared_server):
        text = shared_server.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(?m)^\s*//.*$", "", text), path
        assert "innerHTML" not in text


def test_every_link_leads_somewhere(shared_server: Server) -> None:
    """To an element of the page, or to a path that answers."""
    page = served_page(shared_server)
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        else:
            assert shared_server.get(link).status_code == 200, link


def test_page_names_every_status_and_code_that_a_client_can_get(shared_server: Server) -> None:
    """And none that this server does not have."""
    page = served_page(shared_server)
    table = ServedPage(page.html.partition('class="statuses"')[2].partition("</table>")[0])
    named = {
        code for code in table.codes if re.fullmatch(r"[a-z]+(_[a-z]+)+|overloaded|conflict", code)
    }
    assert named == set(Code) - NOT_OF_SENDING
    statuses = set(re.findall(r'<b class="(?:ok|bad|fault)">(\d+)</b>', table.html))
    assert statuses == {"200", "202", "207", *(str(status) for status in STATUS.values())}


def test_page_tells_the_limits_that_the_server_runs_with(
    database_url: str, start_server: StartServer
) -> None:
    """Not the defaults."""
    server = start_server(
        database_url, limits__event_name_chars_max=77, limits__body_bytes_max=3 << 10
    )
    text = server.get("/").text
    assert "1 to 77 characters" in text
    assert "at most 3 KiB" in text
    default = Config().limits
    assert f"1 to {default.event_name_chars_max} characters" not in text


@pytest.mark.parametrize(("host", "address"), HOSTS.items())
def test_examples_name_the_host_that_was_asked(
    shared_server: Server, host: bytes, address: str
) -> None:
    """In every example that has an address."""
    answer = get(shared_server, "/", b"Host: " + host)
    page = ServedPage(answer.body.decode())
    assert f"curl -X POST {address} " in page.examples["first-event"]
    addressed = [code for code in page.examples.values() if "http" in code]
    origin = address.removesuffix("/event")
    assert [code for code in addressed if origin not in code] == []


@pytest.mark.parametrize("host", NO_HOSTS)
def test_host_that_can_be_none_is_not_repeated(shared_server: Server, host: bytes) -> None:
    """The examples fall back to a neutral address, or the request is refused."""
    answer = get(shared_server, "/", b"Host: " + host)
    assert host == b"" or host not in answer.body
    if answer.status == 400:
        return
    assert answer.status == 200
    assert f"http://{DEFAULT_HOST}/event" in answer.body.decode()


def test_missing_and_doubled_hosts_fall_back_to_the_neutral_address(shared_server: Server) -> None:
    """A proxy and this server could differ on which of two counts."""
    for headers in ([], [b"Host: a.example", b"Host: b.example"]):
        answer = get(shared_server, "/", *headers)
        assert b"a.example" not in answer.body
        assert answer.status == 400 or DEFAULT_HOST.encode() in answer.body


@pytest.mark.parametrize(
    ("forwarded", "scheme"),
    [
        ([b"https"], "https"),
        ([b"HTTPS"], "https"),
        ([b"http"], "http"),
        ([b"javascript"], "http"),
        ([b"https, http"], "http"),
        ([b"https", b"http"], "http"),
    ],
)
def test_scheme_is_https_where_a_proxy_says_so(
    shared_server: Server, forwarded: list[bytes], scheme: str
) -> None:
    """Only the plain word counts."""
    headers = [b"X-Forwarded-Proto: " + value for value in forwarded]
    answer = get(shared_server, "/", b"Host: events.example.com", *headers)
    assert f"POST {scheme}://events.example.com/event " in answer.body.decode()


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/docs/docs.css", "/docs/docs.js"])
def test_client_that_has_this_version_gets_a_304(shared_server: Server, path: str) -> None:
    """Without a body; with another version it gets the whole."""
    first = shared_server.get(path)
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = requests.get(shared_server.url + path, headers={"If-None-Match": known}, timeout=10)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
        assert again.headers.get("Vary") == first.headers.get("Vary")
    other = requests.get(shared_server.url + path, headers={"If-None-Match": '"x"'}, timeout=10)
    assert (other.status_code, other.content) == (200, first.content)


def test_another_address_is_another_version(shared_server: Server) -> None:
    """A cache never shows one host the page of another."""
    here = get(shared_server, "/", b"Host: a.example")
    there = get(shared_server, "/", b"Host: b.example")
    assert here.headers["etag"] != there.headers["etag"]


def test_files_are_kept_only_under_an_address_that_names_their_version(
    shared_server: Server,
) -> None:
    """The page links to those; any other address is asked for anew."""
    paths = assets(shared_server)
    assert len(paths) == 3
    for path in paths:
        bare, _, version = path.partition("?")
        assert re.fullmatch(r"v=[0-9a-f]{24}", version)
        kept = shared_server.get(path)
        assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert kept.headers["X-Content-Type-Options"] == "nosniff"
        for asked in (bare, f"{bare}?v=0", f"{path}&x"):
            answer = shared_server.get(asked)
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.content == kept.content


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/docs.html", "/docs/../pyproject.toml"])
def test_nothing_else_is_served(shared_server: Server, path: str) -> None:
    """404 in the one shape."""
    answer = get(shared_server, path, b"Host: a")
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/docs/docs.css"])
def test_pages_can_only_be_read(shared_server: Server, path: str) -> None:
    """HEAD is GET without the body; POST is a 405."""
    url = shared_server.url + path
    head = requests.head(url, timeout=10)
    body = requests.get(url, timeout=10).content
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(body)
    refused = requests.post(url, timeout=10)
    allowed = "GET, HEAD, OPTIONS" if path == "/" else "GET, HEAD"  # haproxy asks at the root
    assert (refused.status_code, refused.headers["Allow"]) == (405, allowed)
