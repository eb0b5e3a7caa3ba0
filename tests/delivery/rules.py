"""Rules of an operator's for `events`, by which Postgres refuses rows that are named `wrong`."""

from typing import Final

from tests.delivery.surroundings import CHECK
from tests.support.postgres import fetch


def trigger(body: str, when: str = "BEFORE", kind: str = "TRIGGER", timing: str = "") -> str:
    """Return a script for a trigger that does something with every row named `wrong`."""
    return (
        "CREATE FUNCTION test_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.event_name = 'wrong' THEN {body} END IF; RETURN NEW; END $$;"
        f" CREATE {kind} test_rule {when} INSERT ON events {timing}"
        " FOR EACH ROW EXECUTE FUNCTION test_rule()"
    )


RULES: Final = {
    "CHECK": (CHECK, "23514"),
    "dropped": (trigger("RETURN NULL;"), "02000"),
    "missing table": (trigger("PERFORM * FROM nowhere;"), "42P01"),
    "missing table, told behind the rows": (trigger("PERFORM * FROM nowhere;", "AFTER"), "42P01"),
    "missing function": (trigger("PERFORM nowhere();"), "42883"),
    "internal error": (trigger("RAISE 'no' USING ERRCODE = 'XX000';"), "XX000"),
    "internal error, told behind the rows": (
        trigger("RAISE 'no' USING ERRCODE = 'XX000';", "AFTER"),
        "XX000",
    ),
    "unknown class": (trigger("RAISE 'no' USING ERRCODE = 'ZZ123';"), "ZZ123"),
    "raised": (trigger("RAISE 'no';"), "P0001"),
    "assertion": (trigger("ASSERT false;"), "P0004"),
    "told at the commit": (
        trigger(
            "RAISE 'no' USING ERRCODE = 'XX000';",
            "AFTER",
            "CONSTRAINT TRIGGER",
            "DEFERRABLE INITIALLY DEFERRED",
        ),
        "XX000",
    ),
    "data of the rule's": (trigger("PERFORM 'a'::int;"), "22P02"),
}


async def script(url: str, statements: str) -> None:
    """Run several statements."""
    await fetch(url, f"DO $do$ BEGIN EXECUTE $script${statements}$script$; END $do$")
