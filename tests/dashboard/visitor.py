"""Somebody with a browser of their own, who fills forms in."""

import asyncio
import re
from typing import Final, Self

import requests

from ingest.store import accounts, sign_in_links
from ingest.store.accounts import Role
from ingest.store.sign_in_links import Link
from tests.support.postgres import make_postgres

PASSWORD: Final = "correct horse battery"
TIMEOUT_S: Final = 60
OWN: Final = {"Sec-Fetch-Site": "same-origin"}


class Visitor:
    """Keeps cookies, and follows no redirect unless told to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.browser = requests.Session()
        self.email = ""

    def get(self, path: str, **headers: str) -> requests.Response:
        """Open a page."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.get(
            f"{self.url}{path}",
            headers={"Accept": "text/html"} | named,
            allow_redirects=False,
            timeout=TIMEOUT_S,
        )

    def open(self, path: str) -> requests.Response:
        """Open what may never end; to be closed."""
        return self.browser.get(
            f"{self.url}{path}",
            headers={"Accept": "text/html, text/event-stream"},
            allow_redirects=False,
            timeout=TIMEOUT_S,
            stream=True,
        )

    def post(self, path: str, **fields: str) -> requests.Response:
        """Send a form of the dashboard's own."""
        return self.browser.post(
            f"{self.url}{path}",
            data=fields or {"": ""},
            headers=OWN,
            allow_redirects=False,
            timeout=TIMEOUT_S,
        )

    def sign_in(self, email: str, password: str = PASSWORD) -> requests.Response:
        """Try to."""
        return self.post("/sign-in", email=email, password=password)

    def join(self, database_url: str, link: Link, email: str) -> Self:
        """Make an account by a link, and be signed in."""
        path = f"/welcome/{make_link(database_url, link)}"
        answer = self.post(path, email=email, password=PASSWORD)
        assert answer.status_code == 303, answer.text
        self.email = email
        return self


def make_link(database_url: str, link: Link) -> str:
    """Return the token of a link."""

    async def work() -> str:
        async with make_postgres(database_url).session() as connection:
            return await sign_in_links.make(connection, link)

    return asyncio.run(work())


def account_id(database_url: str, email: str) -> int:
    """Return the number of an account."""

    async def work() -> int:
        async with make_postgres(database_url).session() as connection:
            found = await accounts.find(connection, email)
            assert found is not None
            return found[0].id

    return asyncio.run(work())


def invited(app_id: int, role: Role) -> Link:
    """Return an invitation."""
    return Link(app_id=app_id, role=role)


def secret_of(answer: requests.Response) -> str:
    """Return the key that a page shows."""
    found = re.search(r'<code id="secret">(n[kr]_[A-Za-z0-9]{43})</code>', answer.text)
    assert found is not None, answer.text
    return found[1]
