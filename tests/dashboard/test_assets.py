"""What pages load: once, compressed, and kept by the browser as long as it is this version."""

import re
from typing import Final

import requests

from tests.api.asked import Asked
from tests.dashboard.conftest import Admit

TIMEOUT_S: Final = 30


def links_of(page: str) -> list[str]:
    """Return the addresses of what a page loads."""
    return re.findall(r'(?:href|src)="(/static/[^"]+)"', page)


def test_file_is_kept_by_the_browser_that_asks_for_its_version(asked: Asked, admit: Admit) -> None:
    """And asked for again by one that does not."""
    links = links_of(admit().get("/apps").text)
    assert len(links) == 3
    for link in links:
        found = requests.get(f"{asked.url}{link}", timeout=TIMEOUT_S)
        assert "immutable" in found.headers["Cache-Control"]
        plain = requests.get(f"{asked.url}{link.partition('?')[0]}", timeout=TIMEOUT_S)
        assert plain.headers["Cache-Control"] == "no-cache"
        assert plain.content == found.content
        tag = {"If-None-Match": found.headers["ETag"]}
        assert requests.get(f"{asked.url}{link}", headers=tag, timeout=TIMEOUT_S).status_code == 304


def test_file_is_compressed_for_who_takes_that(asked: Asked, admit: Admit) -> None:
    """Both are told apart by whatever keeps them."""
    for link in links_of(admit().get("/apps").text):
        plain, small = (
            requests.get(
                f"{asked.url}{link}", headers={"Accept-Encoding": wanted}, timeout=TIMEOUT_S
            )
            for wanted in ("identity", "br, gzip")
        )
        assert "Content-Encoding" not in plain.headers
        assert small.headers["Content-Encoding"] == "gzip"
        assert small.content == plain.content
        assert small.headers["ETag"] != plain.headers["ETag"]
        assert {plain.headers["Vary"], small.headers["Vary"]} == {"Accept-Encoding"}
