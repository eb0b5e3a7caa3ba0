-- Who may sign in to the dashboard, and what they may do there. Whoever takes events knows nothing
-- of these tables.

CREATE TABLE accounts (
    id            int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         text NOT NULL UNIQUE,           -- in lower case
    password_hash text NOT NULL,                  -- Argon2id, with its parameters and its salt
    is_admin      boolean NOT NULL DEFAULT false, -- an owner of every app, of new ones too
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account_roles (
    account_id int NOT NULL REFERENCES accounts ON DELETE CASCADE,
    app_id     int NOT NULL REFERENCES apps ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    PRIMARY KEY (account_id, app_id)
);

-- A token is 256 random bits, so its SHA-256 needs no salt and no slow hash.
CREATE TABLE account_sessions (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   int NOT NULL REFERENCES accounts ON DELETE CASCADE,
    token_sha256 bytea NOT NULL UNIQUE,
    client       text NOT NULL,                   -- what its browser says that it is
    created_at   timestamptz NOT NULL DEFAULT now(),
    used_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);

CREATE INDEX account_sessions_account ON account_sessions (account_id);

-- Each opens once. One of an account lets it choose a new password; one of an app makes whoever
-- opens it a part of that; one of neither makes an administrator.
CREATE TABLE sign_in_links (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_sha256 bytea NOT NULL UNIQUE,
    account_id   int REFERENCES accounts ON DELETE CASCADE,
    app_id       int REFERENCES apps ON DELETE CASCADE,
    role         text CHECK (role IN ('owner', 'member', 'viewer')),
    made_by      int REFERENCES accounts ON DELETE CASCADE, -- who has to own the app yet when it opens
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    CHECK (account_id IS NULL OR app_id IS NULL),
    CHECK ((app_id IS NULL) = (role IS NULL))
);

-- Who changed what. It outlives whom and what it names.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    email   text NOT NULL,
    app_id  int,
    action  text NOT NULL,
    object  text NOT NULL
);
