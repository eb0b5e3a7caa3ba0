"""The command, asked of the database directly or of a server."""

from tests.query.conftest import Shop
from tests.support.command import Ended, Nonito


def local(shop: Shop, nonito: Nonito, *arguments: str, app: str = "one", **variables: str) -> Ended:
    """Ask directly."""
    at = ("--app", app)
    return nonito("query", *arguments, *at, settings=shop.settings, variables=variables)


def remote(shop: Shop, nonito: Nonito, *arguments: str, app: str = "one") -> Ended:
    """Ask the server, with no database in sight."""
    key = {"NONITO_READ_KEY": shop.asked.keys[app].read}
    return nonito("query", *arguments, "--server", shop.asked.url, variables=key)
