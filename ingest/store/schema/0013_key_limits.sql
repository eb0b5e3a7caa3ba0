-- What a key that writes is limited to, when each key was used last, and the colour of an app.

-- Empty for no limit. A server of the version before knows neither column, and takes whatever is sent
-- with such a key. With constants as defaults nothing is rewritten.
ALTER TABLE api_keys
    ADD COLUMN origins     text[] NOT NULL DEFAULT '{}',
    ADD COLUMN event_names text[] NOT NULL DEFAULT '{}';

-- Of keys of both kinds, by the minute. Apart from them, and without a reference to them: so that
-- writing it locks no key, wakes no server that listens for changes of keys, and needs no right to
-- change any. A key that was deleted by hand leaves its row here, which is 50 bytes.
CREATE TABLE api_key_uses (
    secret_sha256 bytea PRIMARY KEY,
    used_at       timestamptz NOT NULL
);

-- By its name in the palette; null for one that goes by the app's number.
ALTER TABLE apps ADD COLUMN colour text;
