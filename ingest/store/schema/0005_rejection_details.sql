-- What Postgres named when it refused an event: which rule of which table is to be looked at.

ALTER TABLE rejected_events
    ADD COLUMN on_table          text NOT NULL DEFAULT '',
    ADD COLUMN on_column         text NOT NULL DEFAULT '',
    ADD COLUMN broken_constraint text NOT NULL DEFAULT '';
