-- Which database this is, so that a spool and the keys kept for a restart know theirs.

-- Random, one row. A restored back-up is the same database; a copy beside it is another one, and is
-- to be told so: UPDATE nonito_database SET id = gen_random_uuid().
CREATE TABLE nonito_database (
    id      uuid NOT NULL DEFAULT gen_random_uuid(),
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);

INSERT INTO nonito_database DEFAULT VALUES;

-- No secret, and every server's role has to see it.
GRANT SELECT ON nonito_database TO PUBLIC;
