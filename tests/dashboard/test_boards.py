"""Boards: questions are kept, asked anew, and each tile fails alone."""

import asyncio
import re

import pytest
import requests

from ingest.store.accounts import Role
from ingest.store.boards import BOARDS_MAX, TILES_MAX
from tests.api.asked import Asked
from tests.dashboard.conftest import Admit, Apps
from tests.dashboard.visitor import Visitor
from tests.support.postgres import fetch

TREND = "event=seen&last=7d"
NUMBERS = iter(range(1_000))


@pytest.fixture(scope="module")
def member(admit: Admit, asked: Asked) -> Visitor:
    """Somebody who may make boards, in an app with three events."""
    asked.send(*({"event_name": "seen", "event_params": {"user_id": n}} for n in range(3)))
    return admit(Role.MEMBER)


@pytest.fixture
def board(member: Visitor, apps: Apps) -> str:
    """The path of a new board."""
    made = member.post(f"/apps/{apps['one']}/boards", name=f"Board {next(NUMBERS)}")
    assert made.status_code == 303
    return made.headers["Location"]


def save(
    visitor: Visitor, board: str, name: str, query: str = TREND, view: str = "trends"
) -> requests.Response:
    """Put a tile on a board."""
    path, _, number = board.rpartition("/")
    return visitor.post(f"{path}/tiles", board=number, name=name, view=view, query=query)


def tiles_of(page: str) -> list[str]:
    """Return the names of tiles in the order in which they are seen."""
    order = re.findall(r'<slot name="(tile-\d+)">', page)
    names = dict(re.findall(r'<h2 id="(tile-\d+)"><a href="[^"]*">([^<]*)</a>', page))
    return [names[each] for each in order]


def numbers_of(page: str) -> list[str]:
    """Return the numbers of tiles in the order in which they are seen."""
    return re.findall(r'<slot name="tile-(\d+)">', page)


def test_saved_question_is_asked_anew(
    asked: Asked, member: Visitor, board: str, apps: Apps
) -> None:
    """A tile's figures are of now, and its name leads to its page."""
    assert save(member, board, "How many").headers["Location"] == board
    asked.send({"event_name": "seen", "event_params": {"user_id": "new"}})
    (count,) = asked.ask(f"/v1/trends?{TREND}")["series"]
    text = member.get(board).text
    assert f">{count['total']}</a></b>" in text
    assert f'href="/apps/{apps["one"]}/trends?event=seen&amp;last=7d"' in text


def test_new_board_is_made_by_saving(member: Visitor, apps: Apps) -> None:
    """It is in the list, with how many tiles it has."""
    path = f"/apps/{apps['one']}/boards"
    query = "step=seen&step=seen"
    fields = {"name": "Twice", "view": "funnels", "query": query, "new_board": "By saving"}
    answer = member.post(f"{path}/tiles", **fields)
    assert answer.status_code == 303
    assert "got to the end" in member.get(answer.headers["Location"]).text
    assert re.search(r"By saving</b></a> <span class=.soft.>1 tile<", member.get(path).text)


def test_tile_that_fails_costs_the_others_nothing(
    asked: Asked, member: Visitor, board: str
) -> None:
    """Why is said in its place."""
    for name in ("first", "broken", "last"):
        save(member, board, name)
    statements = (
        f"UPDATE board_tiles SET query = 'event=seen&interval=year' WHERE id = {number}"
        for number in numbers_of(member.get(board).text)[1:2]
    )
    for statement in statements:
        asyncio.run(fetch(asked.database_url, statement))
    text = member.get(board).text
    assert tiles_of(text) == ["first", "broken", "last"]
    assert len(re.findall("data-chart", text)) == 2
    assert "write one of hour, day, week, month" in text


def test_tiles_are_moved_renamed_and_taken_off(member: Visitor, board: str) -> None:
    """At the ends nothing moves."""
    for name in ("a", "b", "c"):
        save(member, board, name)
    a, _, c = numbers_of(member.get(board).text)
    for path, order in (
        (f"{c}/up", ["a", "c", "b"]),
        (f"{a}/up", ["a", "c", "b"]),
        (f"{a}/down", ["c", "a", "b"]),
        (f"{c}/remove", ["a", "b"]),
    ):
        assert member.post(f"{board}/tiles/{path}").status_code == 303
        assert tiles_of(member.get(board).text) == order
    assert member.post(f"{board}/tiles/{a}/rename", name="z").status_code == 303
    assert tiles_of(member.get(board).text) == ["z", "b"]


def test_board_has_so_many_tiles_and_no_more(member: Visitor, board: str) -> None:
    """What is too much is told."""
    assert {save(member, board, f"{n}").status_code for n in range(TILES_MAX)} == {303}
    answer = save(member, board, "one more")
    assert answer.status_code == 422
    assert f"{TILES_MAX} tiles at most" in answer.text


def test_app_has_so_many_boards_and_no_more(admit: Admit, apps: Apps) -> None:
    """Counted by app."""
    owner = admit(Role.OWNER, "two")
    path = f"/apps/{apps['two']}/boards"
    made = [owner.post(path, name=f"{n}").status_code for n in range(BOARDS_MAX + 1)]
    assert made == [303] * BOARDS_MAX + [422]


@pytest.mark.parametrize(
    ("view", "query"),
    [
        ("trends", "interval=year"),
        ("trends", "event=" + "x" * 5_000),
        ("trends", "event=%ff"),
        ("funnels", "step=seen"),
        ("explore", ""),
        ("", TREND),
    ],
)
def test_what_is_no_question_is_not_kept(
    member: Visitor, board: str, view: str, query: str
) -> None:
    """Nor is what is longer than 4 kB."""
    assert save(member, board, "bad", query, view).status_code in (400, 422)
    assert numbers_of(member.get(board).text) == []


def test_board_of_another_app_can_not_be_written_to(
    member: Visitor, admit: Admit, apps: Apps, board: str
) -> None:
    """Nor seen, nor can its tiles be moved by way of a board of one's own."""
    save(member, board, "mine")
    (tile,) = numbers_of(member.get(board).text)
    stranger = admit(Role.OWNER, "two")
    elsewhere = board.replace(f"/apps/{apps['one']}/", f"/apps/{apps['two']}/")
    assert stranger.get(elsewhere).status_code == 404
    assert save(stranger, elsewhere, "theirs").status_code == 404
    for path in ("rename", "delete", f"tiles/{tile}/remove", f"tiles/{tile}/rename"):
        assert stranger.post(f"{elsewhere}/{path}", name="theirs").status_code == 404
    other = member.post(f"/apps/{apps['one']}/boards", name="other").headers["Location"]
    assert member.post(f"{other}/tiles/{tile}/remove").status_code == 404
    assert tiles_of(member.get(board).text) == ["mine"]


def test_viewer_sees_and_changes_nothing(admit: Admit, member: Visitor, board: str) -> None:
    """No form is shown that would be refused."""
    save(member, board, "seen by all")
    viewer = admit(Role.VIEWER)
    text = viewer.get(board).text
    assert tiles_of(text) == ["seen by all"]
    assert "<summary>Change" not in text
    assert save(viewer, board, "no").status_code == 403


def test_changes_are_noted(admit: Admit, apps: Apps) -> None:
    """With who made them."""
    owner = admit(Role.OWNER)
    board = owner.post(f"/apps/{apps['one']}/boards", name="Noted").headers["Location"]
    save(owner, board, "tile")
    (tile,) = numbers_of(owner.get(board).text)
    owner.post(f"{board}/tiles/{tile}/down")
    owner.post(f"{board}/tiles/{tile}/remove")
    owner.post(f"{board}/rename", name="Otherwise")
    owner.post(f"{board}/delete")
    assert owner.get(board).status_code == 404
    log = owner.get(f"/apps/{apps['one']}/changes").text
    noted = re.findall(rf"<td>{owner.email}</td><td>([^<]*)</td>", log)
    assert noted[:6] == [
        "deleted a board",
        "renamed a board",
        "took off a board",
        "moved a tile",
        "put on a board",
        "made a board",
    ]
