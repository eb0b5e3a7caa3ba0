-- People who are erased: each row is what there is to do, how far it is, and what was done.

-- It outlives the app that it names. The ids go when it is done, and their SHA-256 stay: by them what
-- comes late, from a spool, is known and erased as well, and whoever knows an id can ask for it.
CREATE TABLE erasures (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id    int         NOT NULL,
    digests   bytea[]     NOT NULL,                -- of the id that was asked for, and of the others
    ids       text[],                              -- in the same order; null when it is done
    asked_by  text        NOT NULL,
    asked_at  timestamptz NOT NULL DEFAULT now(),  -- what is received from then on is not meant
    stage     text        NOT NULL DEFAULT 'asked',
    trouble   text        NOT NULL DEFAULT '',     -- why it goes no further
    worker    uuid,                                -- who works on it
    worked_at timestamptz,                         -- and was there last
    done_at   timestamptz,
    events    bigint      NOT NULL DEFAULT 0,      -- so many were erased
    rejected  bigint      NOT NULL DEFAULT 0,
    keys      bigint      NOT NULL DEFAULT 0,
    links     bigint      NOT NULL DEFAULT 0,
    tiles     bigint      NOT NULL DEFAULT 0,
    files     bigint      NOT NULL DEFAULT 0       -- of the archive, made anew without them
);

CREATE INDEX erasures_app ON erasures (app_id, id);

-- How often something was taken out of what the archive and its tail hold, and of the links: whoever
-- has kept an answer, or the links, sees by it that they are others now. Of two who change what
-- there is at once, one can't commit.
ALTER TABLE archive_state
    ADD COLUMN erased       bigint NOT NULL DEFAULT 0,
    ADD COLUMN links_erased bigint NOT NULL DEFAULT 0;

-- A key that reads may erase only where somebody has said so.
ALTER TABLE read_keys ADD COLUMN may_erase boolean NOT NULL DEFAULT false;
