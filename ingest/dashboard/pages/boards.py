"""Boards: questions kept as tiles. Each is asked anew when it is looked at, and fails alone.

Tiles are shown in their order, and sent as they are answered.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from multidict import MultiDict

from ingest.api.refusals import Refused
from ingest.dashboard.pages.apps import is_name
from ingest.dashboard.pages.figures import VIEWS
from ingest.dashboard.parts import as_they_come
from ingest.dashboard.problems import Problem, not_found, of_question
from ingest.dashboard.replies import Elsewhere, Growing, Page, Part, Reply
from ingest.dashboard.routes import Access, Route, Visit
from ingest.dashboard.troubles import problem_of
from ingest.dashboard.views.view import Wanted
from ingest.store import audit_log, boards
from ingest.store.boards import BOARDS_MAX, QUERY_BYTES_MAX, TILES_MAX, Board, Direction, Tile
from ingest.store.postgres import Connection

_TILE_S: Final = 10.0
"""So long one tile's question may take; a page of its own has more."""
_FIELDS_MAX: Final = 200
_DIGITS_MAX: Final = 9
"""Of a board's number, as in a path."""
_NAME: Final = "Give it a name of a hundred characters at most."
_TOO_MANY: Final = f"An app has {BOARDS_MAX} boards at most; delete one that nobody looks at."

Change = Callable[[Connection, Board], Awaitable[None]]


async def show_all(visit: Visit) -> Reply:
    """List them."""
    return await _list(visit, "")


async def _list(visit: Visit, error: str) -> Page:
    found = await visit.services.kept.read(lambda each: boards.list_of(each, visit.app.id))
    return Page("boards.html", {"boards": found, "error": error}, 422 if error else 200)


async def create(visit: Visit) -> Reply:
    """Make one that has no tiles yet."""
    name = visit.form.get("name", "").strip()
    if not is_name(name):
        return await _list(visit, _NAME)
    made = await visit.services.kept.change(lambda each: _made(each, visit, name))
    return Elsewhere(_path(visit, made)) if made else await _list(visit, _TOO_MANY)


async def _made(connection: Connection, visit: Visit, name: str) -> Board | None:
    made = await boards.create(connection, visit.app.id, name)
    if made is not None:
        await audit_log.note(connection, visit.email, visit.app.id, "made a board", name)
    return made


async def show(visit: Visit) -> Reply:
    """Show one; its tiles as they are answered."""

    async def work(connection: Connection) -> tuple[Board, list[Tile]]:
        board = await _board(connection, visit)
        return board, await boards.tiles_of(connection, board.id)

    board, tiles = await visit.services.kept.read(work)
    values = {"board": board, "tiles": tiles, "tiles_max": TILES_MAX, "later": ""}
    makings = (partial(_tile, visit, board, each) for each in tiles)
    return Growing(Page("board.html", values), as_they_come(*makings))


async def _tile(visit: Visit, board: Board, tile: Tile) -> Part:
    """Return a tile with its answer, or with what went wrong."""
    values: dict[str, Any] = {"board": board, "tile": tile, "problem": None, "last": None}
    try:
        view, query = VIEWS[tile.view], _read(tile.query)
        values["last"] = query.get("last", "" if "from" in query or "to" in query else "30d")
        wanted = Wanted(visit, query, view.read(visit.app, query), _TILE_S)
        values |= await view.show(wanted)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - it is said in the tile's place, and logged
        values["problem"] = problem_of(visit, error)
    return Part("tile.html", values)


async def save(visit: Visit) -> Reply:
    """Put a question on a board, of which there may be none yet."""
    name, view = visit.form.get("name", "").strip(), visit.form.get("view", "")
    if not is_name(name):
        raise Problem(422, "A tile has a name", _NAME)
    query = _checked(visit, view, visit.form.get("query", ""))

    async def work(connection: Connection) -> Board:
        board = await _chosen(connection, visit)
        if not await boards.add(connection, board, name, view, query):
            told = f"A board has {TILES_MAX} tiles at most; take another board."
            raise Problem(422, "This board is full", told)
        told = f"{board.name}: {name}"
        await audit_log.note(connection, visit.email, visit.app.id, "put on a board", told)
        return board

    return Elsewhere(_path(visit, await visit.services.kept.change(work)))


async def _chosen(connection: Connection, visit: Visit) -> Board:
    """Return the board that a form names, or make the one that it wants; raise Problem."""
    chosen, name = visit.form.get("board", ""), visit.form.get("new_board", "").strip()
    if chosen:
        is_number = chosen.isascii() and chosen.isdigit() and len(chosen) <= _DIGITS_MAX
        found = await boards.find(connection, visit.app.id, int(chosen) if is_number else 0)
        if found is None:
            raise not_found()
        return found
    if not is_name(name):
        raise Problem(422, "A board has a name", _NAME)
    made = await _made(connection, visit, name)
    if made is None:
        raise Problem(422, "This app has too many boards", _TOO_MANY)
    return made


def _checked(visit: Visit, view: str, text: str) -> str:
    """Return a query as it is kept, if it is a question of a view; raise Problem."""
    if view not in VIEWS or len(text.encode()) > QUERY_BYTES_MAX:
        raise Problem(422, "This can't be kept", "It is no question, or a very long one.")
    try:
        query = _read(text)
        VIEWS[view].read(visit.app, query)
    except Refused as refused:
        raise of_question(refused) from None
    except ValueError:
        raise Problem(422, "This can't be kept", "It is no question.") from None
    return urlencode([*query.items()])


def _read(text: str) -> MultiDict[str]:
    """Return what a query says; raise ValueError."""
    pairs = parse_qsl(text, max_num_fields=_FIELDS_MAX, errors="strict")
    return MultiDict((name, value) for name, value in pairs if name != "format")


async def rename(visit: Visit) -> Reply:
    """Call a board otherwise."""
    name = _name(visit)

    async def work(connection: Connection, board: Board) -> None:
        await boards.rename(connection, board, name)
        await _note(connection, visit, "renamed a board", f"{board.name} to {name}")

    return await _change(visit, work)


async def delete(visit: Visit) -> Reply:
    """Delete a board with its tiles."""

    async def work(connection: Connection, board: Board) -> None:
        await boards.delete(connection, board)
        await _note(connection, visit, "deleted a board", board.name)

    await _change(visit, work)
    return Elsewhere(f"/apps/{visit.app.id}/boards")


async def rename_tile(visit: Visit) -> Reply:
    """Call a tile otherwise."""
    name = _name(visit)

    async def work(connection: Connection, board: Board) -> None:
        tile = await _tile_of(connection, visit, board)
        await boards.rename_tile(connection, tile, name)
        await _note(connection, visit, "renamed a tile", f"{board.name}: {tile.name} to {name}")

    return await _change(visit, work)


async def remove_tile(visit: Visit) -> Reply:
    """Take a tile off its board."""

    async def work(connection: Connection, board: Board) -> None:
        tile = await _tile_of(connection, visit, board)
        await boards.remove(connection, board, tile.id)
        await _note(connection, visit, "took off a board", f"{board.name}: {tile.name}")

    return await _change(visit, work)


async def move_up(visit: Visit) -> Reply:
    """Have a tile come earlier by one."""
    return await _move(visit, Direction.UP)


async def move_down(visit: Visit) -> Reply:
    """Have a tile come later by one."""
    return await _move(visit, Direction.DOWN)


async def _move(visit: Visit, direction: Direction) -> Reply:
    async def work(connection: Connection, board: Board) -> None:
        tile = await _tile_of(connection, visit, board)
        await boards.move(connection, board, tile.id, direction)
        await _note(connection, visit, "moved a tile", f"{board.name}: {tile.name}")

    return await _change(visit, work)


async def _change(visit: Visit, change: Change) -> Elsewhere:
    async def work(connection: Connection) -> Board:
        board = await _board(connection, visit)
        await change(connection, board)
        return board

    return Elsewhere(_path(visit, await visit.services.kept.change(work)))


async def _board(connection: Connection, visit: Visit) -> Board:
    found = await boards.find(connection, visit.app.id, visit.number)
    if found is None:
        raise not_found()
    return found


async def _tile_of(connection: Connection, visit: Visit, board: Board) -> Tile:
    number = int(visit.parts[1])
    for tile in await boards.tiles_of(connection, board.id):
        if tile.id == number:
            return tile
    raise not_found()


async def _note(connection: Connection, visit: Visit, action: str, told: str) -> None:
    await audit_log.note(connection, visit.email, visit.app.id, action, told)


def _name(visit: Visit) -> str:
    name = visit.form.get("name", "").strip()
    if not is_name(name):
        raise Problem(422, "This is no name", _NAME)
    return name


def _path(visit: Visit, board: Board) -> str:
    return f"/apps/{visit.app.id}/boards/{board.id}"


_BOARD: Final = "/apps/{app}/boards/{number}"
_TILE: Final = f"{_BOARD}/tiles/{{number}}"
ROUTES: Final = (
    Route("GET", "/apps/{app}/boards", Access.VIEWER, show_all),
    Route("POST", "/apps/{app}/boards", Access.MEMBER, create),
    Route("POST", "/apps/{app}/boards/tiles", Access.MEMBER, save),
    Route("GET", _BOARD, Access.VIEWER, show),
    Route("POST", f"{_BOARD}/rename", Access.MEMBER, rename),
    Route("POST", f"{_BOARD}/delete", Access.MEMBER, delete),
    Route("POST", f"{_TILE}/rename", Access.MEMBER, rename_tile),
    Route("POST", f"{_TILE}/up", Access.MEMBER, move_up),
    Route("POST", f"{_TILE}/down", Access.MEMBER, move_down),
    Route("POST", f"{_TILE}/remove", Access.MEMBER, remove_tile),
)
