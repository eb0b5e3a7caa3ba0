-- When an event happened, and the key under which a client may send it again.

-- Both are null for a client that sends neither. created_at stays the time of receipt.
-- idempotency_key is 128 bits of the hash of the client's Idempotency-Key.
ALTER TABLE events
    ADD COLUMN "timestamp" timestamptz,
    ADD COLUMN idempotency_key uuid;

-- So that a rejected event that is tried again keeps them.
ALTER TABLE rejected_events
    ADD COLUMN "timestamp" timestamptz,
    ADD COLUMN idempotency_key uuid;

-- Which event a key stands for, for 24 hours. Here and not a unique index on events: that would
-- have to contain the partition key, so it could not tell two ids with one key.
CREATE TABLE idempotency_keys (
    app_id     int NOT NULL,
    key        uuid NOT NULL,
    event_id   uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (app_id, key)
);

-- For the removal of old keys. A B-tree, since new rows only touch its last page; BRIN's ranges
-- would grow to hold every time once the room of removed rows is used again.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
