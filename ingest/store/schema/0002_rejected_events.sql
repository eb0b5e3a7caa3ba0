-- Events that were acknowledged from the spool and that Postgres refused when they came from there.

-- event_params is text on purpose: it holds what jsonb refused. A row is mended here by an UPDATE
-- and stored by `nonito rejected retry`.
CREATE TABLE rejected_events (
    app_id       int NOT NULL,
    id           uuid NOT NULL,
    event_name   text NOT NULL,
    event_params text NOT NULL,
    created_at   timestamptz NOT NULL,
    sqlstate     text NOT NULL,
    message      text NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app_id, id)
);
