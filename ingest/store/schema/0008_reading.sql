-- What reading takes: keys that may read and nothing else, an app's settings, and what the archive holds.

-- Apart from api_keys, so that no server, not even one of the version before, takes one for a key
-- that may write.
CREATE TABLE read_keys (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id        int NOT NULL REFERENCES apps,
    name          text NOT NULL,
    prefix        text NOT NULL,
    secret_sha256 bytea NOT NULL UNIQUE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz
);

-- Up to where the archive holds everything; one row. archive_id stands in its directory as well: one
-- that is older, newer, or another database's is noticed. A mark means something in one Postgres and
-- on one timeline only.
CREATE TABLE archive_state (
    is_only           boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    archive_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    mark              bigint NOT NULL DEFAULT 0,      -- rows with xact < mark are in the archive
    null_before       uuid,                           -- so are those without xact and an id < this
    null_done         boolean NOT NULL DEFAULT false, -- and all of them
    system_identifier text,
    timeline          int,
    changed_at        timestamptz NOT NULL DEFAULT now()
);

INSERT INTO archive_state DEFAULT VALUES;

-- A file counts when it stands here.
CREATE TABLE archive_files (
    name       text PRIMARY KEY,
    app_id     int NOT NULL,
    rows       bigint NOT NULL,
    at_min     timestamptz NOT NULL,
    at_max     timestamptz NOT NULL,
    mark       bigint NOT NULL,
    bytes      bigint NOT NULL,
    sha256     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Which parameter says who did it, and in which zone a day begins.
ALTER TABLE apps
    ADD COLUMN user_field text NOT NULL DEFAULT 'user_id',
    ADD COLUMN timezone text NOT NULL DEFAULT 'UTC';
