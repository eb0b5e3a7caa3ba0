-- Boards of the dashboard: questions that are kept, to be looked at together. Whoever takes events
-- knows nothing of these tables.

CREATE TABLE boards (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id     int NOT NULL REFERENCES apps ON DELETE CASCADE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX boards_app ON boards (app_id);

CREATE TABLE board_tiles (
    id       int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    board_id int NOT NULL REFERENCES boards ON DELETE CASCADE,
    name     text NOT NULL,
    view     text NOT NULL,  -- which page shows it
    query    text NOT NULL,  -- of that page's address: its question
    place    int NOT NULL    -- among those of its board, from 0
);

CREATE INDEX board_tiles_board ON board_tiles (board_id);
