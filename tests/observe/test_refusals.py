"""What is kept of the latest refusals: some of each app's, whatever others are refused."""

from ingest.errors import Code, Refusal
from ingest.observe.metrics import Metrics
from ingest.observe.refusals import APPS_MAX, CHARS_MAX, OF_APP_MAX, LatestRefusals
from ingest.share.refusals import NOBODYS


def refusal(message: str = "Send JSON.") -> Refusal:
    """Return one."""
    return Refusal(Code.INVALID_JSON, message)


def test_refusal_is_told_once_with_its_code_and_message() -> None:
    """Until there is another one."""
    metrics = Metrics()
    metrics.refuse(refusal(), 7)
    taken = metrics.latest_refusals.take()
    assert taken is not None
    ((of_app,),) = (taken,)
    assert (of_app.app_id, of_app.count) == (7, 1)
    assert [(each.code, each.message) for each in of_app.latest] == [("invalid_json", "Send JSON.")]
    assert metrics.refusals[Code.INVALID_JSON] == 1
    assert metrics.latest_refusals.take() is None


def test_flood_of_one_app_takes_no_other_s_place() -> None:
    """And is bounded itself: in each second some are noted, and all are counted."""
    latest = LatestRefusals()
    latest.note(refusal("the other one's"), 2)
    for _ in range(1_000):
        latest.note(refusal(), 1)
    taken = {each.app_id: each for each in latest.take() or ()}
    assert [each.message for each in taken[2].latest] == ["the other one's"]
    assert taken[1].count == 1_000
    assert [each.number for each in taken[1].latest] == list(range(1, OF_APP_MAX + 1))
    latest.note(refusal(), 1)
    taken = {each.app_id: each for each in latest.take() or ()}
    assert taken[1].latest[-1].number == 1_001
    assert len(taken[1].latest) == OF_APP_MAX


def test_few_apps_are_kept_those_that_were_refused_something_last() -> None:
    """Whoever sends much to many apps makes nothing grow."""
    latest = LatestRefusals()
    for app_id in range(APPS_MAX + 5):
        latest.note(refusal(), app_id)
        latest.note(refusal(), NOBODYS)
    kept = [each.app_id for each in latest.take() or ()]
    assert len(kept) == APPS_MAX
    assert set(kept[-2:]) == {APPS_MAX + 4, NOBODYS}


def test_long_message_is_cut_and_one_that_is_no_text_is_made_one() -> None:
    """A lone surrogate could not be published."""
    latest = LatestRefusals()
    latest.note(refusal("\ud83d" + "x" * 1_000), 1)
    (of_app,) = latest.take() or ()
    assert of_app.latest[0].message == "?" + "x" * (CHARS_MAX - 1)
