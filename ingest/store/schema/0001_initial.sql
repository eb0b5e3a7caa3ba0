-- Apps, their API keys, and the events.

CREATE TABLE apps (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A key is 256 random bits, so its SHA-256 needs no salt and no slow hash.
CREATE TABLE api_keys (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id        int NOT NULL REFERENCES apps,
    name          text NOT NULL,
    prefix        text NOT NULL,
    secret_sha256 bytea NOT NULL UNIQUE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz
);

-- Whoever changes a key, by this server's command or by hand: every server hears of it.
CREATE FUNCTION nonito_notify_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('nonito_keys', '');
    RETURN NULL;
END
$$;

CREATE TRIGGER api_keys_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION nonito_notify_keys();

-- A UUIDv7 sorts by time, so ranges of id are ranges of time, and the one index serves uniqueness,
-- isolation of apps, and "this app, this period".
CREATE TABLE events (
    app_id       int NOT NULL,
    id           uuid NOT NULL,
    event_name   text NOT NULL,
    event_params jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (app_id, id)
) PARTITION BY RANGE (id);

-- Catches what no partition holds, so that no insert ever fails for want of one.
CREATE TABLE events_default PARTITION OF events DEFAULT;
