"""What a page can't do, as its reader is told."""

from typing import Final

from ingest.api.refusals import Refused
from ingest.dashboard.text import count_of
from ingest.store.failures import RowRefused, Unavailable
from ingest.store.reasons import reason_of

_SERVERS_OWN: Final = 500


class Problem(Exception):  # noqa: N818 - it is an answer, not a failure of ours
    """Why a request is not done: a status, a heading, and what to do about it."""

    def __init__(
        self, status: int, title: str, text: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text
        self.headers = headers or {}


def not_found() -> Problem:
    """Return what is said of a page that is not there, or is somebody else's: nobody can tell."""
    return Problem(
        404,
        "There is nothing here",
        "The address is wrong, what it named is gone, or it is not yours to see.",
    )


def busy(retry_after_s: int) -> Problem:
    """Return what is said to somebody who has to wait."""
    seconds = count_of(retry_after_s, "second")
    return Problem(
        429,
        "Too many tries",
        f"Wait {seconds}, and then try again.",
        {"Retry-After": str(retry_after_s)},
    )


def trouble_of(error: Exception) -> str:
    """Return why Postgres could not be asked, in a few words without any address."""
    match error:
        case Unavailable():
            return error.named_reason
        case RowRefused():
            return error.reason
        case _:
            return reason_of(error)


def away() -> Problem:
    """Return what is said while Postgres can't be asked."""
    return Problem(
        503,
        "The database can't be reached",
        "Events are still taken, and kept on disk until it is back. Load this page again soon.",
        {"Retry-After": "2"},
    )


def of_another_site() -> Problem:
    """Return what is said of a change that another site has sent."""
    return Problem(
        403,
        "This came from another site",
        "Nothing was changed. Open the dashboard itself, and do it there.",
    )


def of_question(refused: Refused) -> Problem:
    """Return what is said of a question that is not answered, in the query API's own words."""
    title = "This can't be asked so" if refused.status < _SERVERS_OWN else "Not now"
    return Problem(refused.status, title, refused.message, refused.headers)


def of_trouble() -> Problem:
    """Return what is said while the archive can't be asked."""
    return Problem(
        503,
        "The events can't be read now",
        "They are safe; the server's log says what is wrong. Load this page again soon.",
        {"Retry-After": "5"},
    )
