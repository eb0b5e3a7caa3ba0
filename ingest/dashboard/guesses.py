"""Guesses at a password: each counts before it is known, so that many at once are many."""

import math

from ingest.dashboard.problems import Problem, busy
from ingest.dashboard.routes import Visit
from ingest.store import accounts
from ingest.store.accounts import Account
from ingest.store.failures import RowRefused, Unavailable
from ingest.web.client_address import address_of


async def account_of(visit: Visit, email: str, password: str) -> Account | None:
    """Return the account that has this address and password; None without one. Raises Problem."""
    services = visit.services
    address = address_of(visit.request, services.config.dashboard.trusted_proxies)
    if wait_s := services.backoff.wait_s(email, address):
        raise busy(math.ceil(wait_s))
    services.backoff.note_failure(email, address)
    try:
        found = await services.kept.read(lambda connection: accounts.find(connection, email))
        account, kept = found or (None, None)
        is_right = await services.passwords.is_right(password, kept)
    except (Problem, Unavailable, RowRefused):
        services.backoff.take_back(email, address)
        raise
    if not is_right:
        return None
    services.backoff.note_success(email, address)
    return account
