"""An answer as it was sent, and what it says."""

from datetime import datetime

import msgspec

from ingest.errors import StartupError
from ingest.insights.answers import Answer
from ingest.insights.questions import Question


class Reply(msgspec.Struct, frozen=True):
    """An answer, the question as it was understood, and as of when."""

    as_of: datetime
    question: Question
    data: Answer


def read(body: bytes) -> Reply:
    """Return what an answer says; raise StartupError for what is none."""
    try:
        return msgspec.json.decode(body, type=Reply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StartupError("what was answered is no answer of a query API") from None
