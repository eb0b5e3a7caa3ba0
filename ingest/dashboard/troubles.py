"""Whatever went wrong, as a page's reader is told: in their words, and in the log's."""

import structlog

from ingest.api.refusals import Refused
from ingest.archive.failures import ArchiveTrouble
from ingest.dashboard.problems import Problem, away, of_question, of_trouble
from ingest.dashboard.routes import Visit
from ingest.store.failures import RowRefused, Unavailable

log = structlog.get_logger(__name__)


def problem_of(visit: Visit, error: Exception) -> Problem:
    """Return what is said of a failure; of what is no answer the log has more."""
    match error:
        case Problem():
            return error
        case Refused():
            return of_question(error)
        case ArchiveTrouble():
            log.warning("a page's question can't be answered", page=visit.page, reason=str(error))
            return of_trouble()
        case Unavailable() | RowRefused():
            log.warning("a page can't be shown", page=visit.page, reason=str(error))
            return away()
        case _:
            log.error("a page failed", page=visit.page, exc_info=error)
            return Problem(500, "The server failed", "Its log says why.")
