"""What a page can't do, as its reader is told."""

from ingest.dashboard.text import count_of


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
