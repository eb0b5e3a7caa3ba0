-- How long events are kept, and up to where they are gone (store/horizons.py).

-- Null: as the server's configuration says.
ALTER TABLE apps
    ADD COLUMN retain_days         int CHECK (retain_days >= 0),          -- 0 keeps all
    ADD COLUMN archive_retain_days int CHECK (archive_retain_days >= -1); -- -1: as long as Postgres

-- A row for each app, and that of 0 for events of apps that are in no table.
CREATE TABLE retention (
    app_id              int PRIMARY KEY,
    retain_days         int NOT NULL,         -- what holds for it, as a server has said last
    archive_retain_days int NOT NULL,
    announced_at        timestamptz NOT NULL DEFAULT now(), -- since when less is kept than before
    moved_at            timestamptz,          -- when these moved last; null since it was announced
    events_before       timestamptz,          -- what is older goes from Postgres; null for nothing
    archive_before      timestamptz,          -- what is older is in no answer, wherever it still lies
    dropped_before      timestamptz,          -- the latest events_before ever: what is older may be
                                              -- in the archive alone
    forgotten_before    timestamptz,          -- up to where the archive has let events go that
                                              -- Postgres may hold
    trouble             text NOT NULL DEFAULT '' -- why something of it waits, in words
);

-- The least and the greatest id in a file; null in one of the version before.
ALTER TABLE archive_files ADD COLUMN id_min uuid, ADD COLUMN id_max uuid;

-- An archive that is begun in the place of another one unnames all files of that. Whoever does not
-- carry over what only they hold, as a server of the version before, may not.
CREATE FUNCTION nonito_require_carrying() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('nonito.carries', true) IS DISTINCT FROM 'yes'
        AND EXISTS (SELECT FROM retention WHERE dropped_before IS NOT NULL)
    THEN
        RAISE EXCEPTION 'the archive holds events that Postgres has dropped: a server of this'
            ' version has to begin another one';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER archive_begun BEFORE UPDATE ON archive_state
    FOR EACH ROW WHEN (OLD.archive_id IS DISTINCT FROM NEW.archive_id)
    EXECUTE FUNCTION nonito_require_carrying();
