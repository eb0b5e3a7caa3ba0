-- How much an app, all its keys together, and how much a key may send. Null for as much as comes. A
-- server of the version before knows none of it, and takes whatever is sent.
ALTER TABLE apps
    ADD COLUMN events_per_second bigint CHECK (events_per_second BETWEEN 1 AND 1000000000),
    ADD COLUMN events_burst      bigint CHECK (events_burst BETWEEN 1 AND 1000000000),
    ADD COLUMN events_per_day    bigint CHECK (events_per_day BETWEEN 1 AND 1000000000),
    ADD COLUMN bytes_per_second  bigint CHECK (bytes_per_second BETWEEN 1 AND 1::bigint << 50),
    ADD COLUMN bytes_per_day     bigint CHECK (bytes_per_day BETWEEN 1 AND 1::bigint << 50),
    ADD CONSTRAINT apps_burst_of_a_rate CHECK (events_burst IS NULL OR events_per_second IS NOT NULL);

ALTER TABLE api_keys
    ADD COLUMN events_per_second bigint CHECK (events_per_second BETWEEN 1 AND 1000000000),
    ADD COLUMN events_burst      bigint CHECK (events_burst BETWEEN 1 AND 1000000000),
    ADD COLUMN events_per_day    bigint CHECK (events_per_day BETWEEN 1 AND 1000000000),
    ADD COLUMN bytes_per_second  bigint CHECK (bytes_per_second BETWEEN 1 AND 1::bigint << 50),
    ADD COLUMN bytes_per_day     bigint CHECK (bytes_per_day BETWEEN 1 AND 1::bigint << 50),
    ADD CONSTRAINT api_keys_burst_of_a_rate CHECK (events_burst IS NULL OR events_per_second IS NOT NULL);

-- Servers read an app's limits, and the zone of its days, with its keys.
CREATE TRIGGER apps_changed
    AFTER UPDATE OF events_per_second, events_burst, events_per_day, bytes_per_second, bytes_per_day,
        timezone ON apps
    FOR EACH STATEMENT EXECUTE FUNCTION nonito_notify_keys();

-- What was sent on the day that was the last one, by whoever has a limit of a day. Each server adds its
-- own every two seconds. Without a reference to apps or keys, so that writing it locks none of them;
-- key_id is 0 for an app's own limits.
CREATE TABLE limit_uses (
    app_id int    NOT NULL,
    key_id int    NOT NULL,
    day    date   NOT NULL,
    events bigint NOT NULL,
    bytes  bigint NOT NULL,
    PRIMARY KEY (app_id, key_id)
);
