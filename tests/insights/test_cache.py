"""Answers are kept within their bound, those asked for last the longest."""

import msgspec

from ingest.insights.answers import NamesAnswer
from ingest.insights.cache import Answers
from ingest.insights.questions import Names

ANSWER = NamesAnswer((), 0, 0)
SIZE = len(msgspec.json.encode(ANSWER))


def test_answer_is_kept_by_question_and_mark() -> None:
    """Another mark is another answer."""
    kept = Answers(10 * SIZE)
    kept.put((Names(), 1), ANSWER)
    assert kept.get((Names(), 1)) == ANSWER
    assert kept.get((Names(), 2)) is None
    assert kept.get((Names(top=1), 1)) is None


def test_answers_stay_within_their_bytes() -> None:
    """Whoever was asked for longest ago goes first."""
    kept = Answers(3 * SIZE)
    for mark in range(3):
        kept.put((mark,), ANSWER)
    kept.get((0,))
    kept.put((3,), ANSWER)
    assert [mark for mark in range(4) if kept.get((mark,))] == [0, 2, 3]
    assert kept.bytes == 3 * SIZE


def test_answer_that_is_put_twice_counts_once() -> None:
    """And one that is too large for all of it drops no other."""
    kept = Answers(2 * SIZE)
    kept.put((1,), ANSWER)
    kept.put((1,), ANSWER)
    kept.put((2,), NamesAnswer((), 10 ** (2 * SIZE), 0))
    assert kept.get((1,)) == ANSWER
    assert kept.get((2,)) is None
    assert kept.bytes == SIZE
