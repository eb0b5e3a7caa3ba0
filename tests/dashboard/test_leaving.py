"""Who leaves in the midst of a page costs nothing, and is no failure of the server's."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps

pytestmark = pytest.mark.slow

LEAVING = 30


def leave(asked: Asked, path: str, cookie: str, after_bytes: int) -> None:
    """Ask for a page, read as much of it, and hang up."""
    place = urlsplit(asked.url)
    with socket.create_connection((place.hostname or "", place.port or 0), 30) as client:
        head = f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nCookie: {cookie}\r\n"
        client.sendall(f"{head}Accept: text/html\r\n\r\n".encode())
        if after_bytes:
            client.recv(after_bytes)


def test_leaving_a_page_is_no_failure(asked: Asked, apps: Apps, admit: Admit) -> None:
    """Before its first byte or behind it; pages are answered as before."""
    visitor = admit()
    cookie = "; ".join(f"{each.name}={each.value}" for each in visitor.browser.cookies)
    app = f"/apps/{apps['one']}"
    pages = [f"{app}/explore", f"{app}/trends", f"{app}/live/stream", f"{app}/export?format=csv"]
    for number in range(LEAVING):
        leave(asked, pages[number % len(pages)], cookie, number % 2 * 100)
    for path in pages[:2]:
        assert visitor.get(path).status_code == 200
        assert visitor.browser.head(f"{asked.url}{path}", timeout=30).status_code == 200
    logs = asked.server.logs()
    assert "a page failed" not in logs
    assert "never awaited" not in logs
    assert "Traceback" not in logs
