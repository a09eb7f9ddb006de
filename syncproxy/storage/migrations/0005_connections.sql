-- Connections whose positions survive restarts: what each client was sent, as of a version, and what each answer since
-- has added to it. Folding the additions into the whole is put off, so that an answer writes little.

CREATE TABLE connections (
    user_id text NOT NULL,
    device_id text NOT NULL,
    conn_id text NOT NULL,
    -- in every position of the connection: one that was started anew has another
    name text NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0,
    base bytea NOT NULL,
    used_ms bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, conn_id)
);
CREATE INDEX connections_by_age ON connections (used_ms);

CREATE TABLE connection_deltas (
    name text NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    version bigint NOT NULL,
    -- tells the answer that made this version from one that was made in its place
    counter bigint NOT NULL,
    delta bytea NOT NULL,
    PRIMARY KEY (name, version)
);
