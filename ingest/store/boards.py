"""Boards: questions that are kept to be looked at together, in an order; all within an app."""

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from ingest.store.postgres import Connection

BOARDS_MAX: Final = 50
TILES_MAX: Final = 12
QUERY_BYTES_MAX: Final = 4096


class Board(NamedTuple):
    """One board."""

    id: int
    name: str
    tiles: int
    """How many it has."""


class Tile(NamedTuple):
    """One question that is kept."""

    id: int
    name: str
    view: str
    """Which page shows it."""
    query: str
    """Of that page's address."""


class Direction(Enum):
    """Where a tile is moved; the value is what is added to its place."""

    UP = -1
    DOWN = 1


async def list_of(connection: Connection, app_id: int) -> list[Board]:
    """Return the boards of an app, by name."""
    rows = await connection.fetch(
        "SELECT boards.id, boards.name, count(board_tiles.id)::int FROM boards"
        " LEFT JOIN board_tiles ON board_id = boards.id WHERE app_id = $1"
        " GROUP BY boards.id ORDER BY lower(boards.name), boards.id LIMIT $2",
        app_id,
        BOARDS_MAX,
    )
    return [Board(*row) for row in rows]


async def find(connection: Connection, app_id: int, board_id: int) -> Board | None:
    """Return a board of an app; None if it has none of this number."""
    row = await connection.fetchrow(
        "SELECT id, name, (SELECT count(*)::int FROM board_tiles WHERE board_id = $2)"
        " FROM boards WHERE app_id = $1 AND id = $2",
        app_id,
        board_id,
    )
    return None if row is None else Board(*row)


async def tiles_of(connection: Connection, board_id: int) -> list[Tile]:
    """Return a board's tiles, in their order."""
    rows = await connection.fetch(
        "SELECT id, name, view, query FROM board_tiles WHERE board_id = $1"
        " ORDER BY place, id LIMIT $2",
        board_id,
        TILES_MAX,
    )
    return [Tile(*row) for row in rows]


async def create(connection: Connection, app_id: int, name: str) -> Board | None:
    """Make a board, in a transaction; None if the app has as many as it may."""
    await connection.execute("SELECT FROM apps WHERE id = $1 FOR NO KEY UPDATE", app_id)
    if await connection.fetchval("SELECT count(*) FROM boards WHERE app_id = $1", app_id) >= (
        BOARDS_MAX
    ):
        return None
    made = await connection.fetchval(
        "INSERT INTO boards (app_id, name) VALUES ($1, $2) RETURNING id", app_id, name
    )
    return Board(made, name, 0)


async def rename(connection: Connection, board: Board, name: str) -> None:
    """Call a board otherwise."""
    await connection.execute("UPDATE boards SET name = $2 WHERE id = $1", board.id, name)


async def delete(connection: Connection, board: Board) -> None:
    """Delete a board with its tiles."""
    await connection.execute("DELETE FROM boards WHERE id = $1", board.id)


async def add(connection: Connection, board: Board, name: str, view: str, query: str) -> bool:
    """Put a tile at the end of a board, in a transaction; whether there was room for it."""
    tiles = await _locked(connection, board)
    if len(tiles) >= TILES_MAX:
        return False
    await connection.execute(
        "INSERT INTO board_tiles (board_id, name, view, query, place) VALUES ($1, $2, $3, $4, $5)",
        board.id,
        name,
        view,
        query,
        len(tiles),
    )
    await _number(connection, [*(tile.id for tile in tiles)])
    return True


async def rename_tile(connection: Connection, tile: Tile, name: str) -> None:
    """Call a tile otherwise."""
    await connection.execute("UPDATE board_tiles SET name = $2 WHERE id = $1", tile.id, name)


async def move(connection: Connection, board: Board, tile_id: int, direction: Direction) -> None:
    """Have a tile change places with its neighbour, if it has one there; in a transaction."""
    order = [tile.id for tile in await _locked(connection, board)]
    if tile_id not in order:
        return
    place = order.index(tile_id)
    other = place + direction.value
    if 0 <= other < len(order):
        order[place], order[other] = order[other], order[place]
        await _number(connection, order)


async def remove(connection: Connection, board: Board, tile_id: int) -> Tile | None:
    """Take a tile off a board; return it, None if the board has none of this number."""
    row = await connection.fetchrow(
        "DELETE FROM board_tiles WHERE board_id = $1 AND id = $2 RETURNING id, name, view, query",
        board.id,
        tile_id,
    )
    return None if row is None else Tile(*row)


async def _locked(connection: Connection, board: Board) -> list[Tile]:
    """Return a board's tiles, which nobody else adds to or moves until the transaction ends."""
    await connection.execute("SELECT FROM boards WHERE id = $1 FOR UPDATE", board.id)
    return await tiles_of(connection, board.id)


async def _number(connection: Connection, order: list[int]) -> None:
    await connection.execute(
        "UPDATE board_tiles SET place = ordered.place - 1"
        " FROM unnest($1::int[]) WITH ORDINALITY AS ordered (id, place)"
        " WHERE board_tiles.id = ordered.id",
        order,
    )


async def naming(
    connection: Connection, app_id: int, user_field: str, people: Collection[str]
) -> list[int]:
    """Return an app's tiles whose question is about one of these people."""
    rows = await connection.fetch(
        "SELECT board_tiles.id, query FROM board_tiles JOIN boards ON boards.id = board_id"
        " WHERE app_id = $1",
        app_id,
    )
    about = {
        f"{field}:{operator}:{value}"
        for field in ("person", f"params.{user_field}")
        for operator in ("eq", "ne", "contains")
        for person in people
        for value in (person, '"' + person.replace('"', '""') + '"')
    }
    return [row["id"] for row in rows if _is_one_of(about, row["query"])]


async def drop_all(connection: Connection, tiles: Sequence[int]) -> int:
    """Delete tiles by their numbers; return how many there were."""
    done = await connection.execute("DELETE FROM board_tiles WHERE id = ANY ($1)", tiles)
    return int(done.rpartition(" ")[2])


def _is_one_of(conditions: AbstractSet[str], query: str) -> bool:
    """Return whether a question has one of these conditions, alone or among others."""
    texts = [value for name, value in parse_qsl(query) if name == "where"]
    return any(part in conditions for text in texts for part in (text, *text.split("|")))
