"""Of which time a question needs events: what the relation that it is asked of must hold."""

from datetime import datetime
from typing import assert_never

from ingest.insights.questions import (
    Events,
    Funnel,
    Names,
    PersonEvents,
    Question,
    Retention,
    Trends,
)


def of(question: Question) -> tuple[datetime | None, datetime | None]:
    """Return from when on and until when (itself not); None for no bound.

    Funnels need their window after the range, first-time retention all that was before.
    """
    match question:
        case Trends() | Events():
            return question.start, question.end
        case Funnel():
            return question.start, question.end + question.window
        case Retention():
            return None if question.kind == "first_time" else question.start, question.end
        case PersonEvents() | Names():
            return None, None
        case _:
            assert_never(question)
