"""Events of people who were erased that come late: from a spool, say, of a server that was down.

The archiver sees each event once, when it has settled. What was received before its person was
erased is deleted then, and never comes into a file: for LATE_DAYS, by the SHA-256 of their ids. A
role that may not delete events leaves them.
"""

from typing import Final

from ingest.archive import erasing
from ingest.archive.workspace import Workspace
from ingest.store.erasing import MAY
from ingest.store.erasures import LATE_DAYS

_PEOPLE: Final = "erased_people"
_ERASED: Final = (
    "SELECT id AS erasure, app_id, encode(unnest(digests), 'hex') AS digest,"
    " (extract(epoch FROM asked_at) * 1000000)::bigint AS asked_us FROM erasures"
    f" WHERE done_at IS NULL OR done_at > now() - interval '{LATE_DAYS} days'"
)
# Most are of a time behind all of them, so that nothing is hashed.
_LATE: Final = f"""
SELECT min(erasure), app_id, id FROM (
    SELECT app_id, id, epoch_us(created_at) AS received_us, person FROM batch
    WHERE app_id IN (SELECT app_id FROM {_PEOPLE})
    AND epoch_us(created_at) < (SELECT max(asked_us) FROM {_PEOPLE})
) AS earlier JOIN {_PEOPLE} USING (app_id)
WHERE digest = sha256(person) AND received_us < asked_us GROUP BY app_id, id ORDER BY ALL
"""


def erase(workspace: Workspace) -> None:
    """Delete those that a pass has in `batch`, in its transaction; raise ArchiveTrouble."""
    if not workspace.rows(f"SELECT {MAY}")[0][0]:
        return
    duck = workspace.duck
    with workspace.stream(_ERASED) as answer:
        duck.execute(f"CREATE OR REPLACE TEMP TABLE {_PEOPLE} AS SELECT * FROM {answer}")
    found = duck.execute(_LATE).fetchall()
    for erasure, app_id in {(erasure, app_id) for erasure, app_id, _ in found}:
        ids = [id_ for of, _, id_ in found if of == erasure]
        erasing.count(workspace, erasure, erasing.delete(workspace, app_id, ids))
        duck.execute(
            "DELETE FROM batch WHERE app_id = $1 AND id IN (SELECT unnest($2::UUID[]))",
            [app_id, ids],
        )
    duck.execute(f"DROP TABLE {_PEOPLE}")
