-- Everything lives in the schema syncproxy, which is first on the search path.
-- nid: the one order of everything stored. The writer draws it; `meta.position` is the newest one committed.

CREATE TABLE meta (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- part of every token handed to clients: tells this database from a restored or another one
    epoch text NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    -- grows with each process that takes the advisory lock
    generation bigint NOT NULL DEFAULT 0,
    -- a known text, encrypted: tells a wrong secret
    secret_check bytea
);

CREATE TABLE devices (
    user_id text NOT NULL,
    device_id text NOT NULL,
    since text,
    -- of the newest stored answer: tells whether an answer was stored when COMMIT's outcome is unknown
    sequence bigint NOT NULL DEFAULT 0,
    -- the newest position when the newest stored answer was asked for
    horizon bigint NOT NULL DEFAULT 0,
    last_seen_ms bigint NOT NULL DEFAULT 0,
    one_time_key_counts bytea,
    unused_fallback_key_types bytea,
    to_device_position bigint NOT NULL DEFAULT 0,
    device_list_position bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, device_id)
);

CREATE TABLE tokens (
    token_hash bytea PRIMARY KEY,
    user_id text NOT NULL,
    device_id text NOT NULL,
    encrypted bytea NOT NULL,
    created_ms bigint NOT NULL
);
CREATE INDEX tokens_of_device ON tokens (user_id, device_id, created_ms);

-- `summary` is a RoomSummary as JSON: start-up reads one row a room.
CREATE TABLE rooms (
    room_id text PRIMARY KEY,
    position bigint NOT NULL,
    summary bytea NOT NULL
);

-- `json` is bytea, not jsonb: real events have \u0000 and lone surrogates in them.
CREATE TABLE events (
    room_id text NOT NULL,
    event_id text NOT NULL,
    nid bigint NOT NULL,
    type text NOT NULL,
    sender text NOT NULL,
    state_key text,
    membership text,
    origin_server_ts bigint NOT NULL,
    recency bigint NOT NULL,
    sort_ts bigint NOT NULL,
    -- false: known from a state block only
    in_timeline boolean NOT NULL,
    gap_before boolean NOT NULL,
    prev_batch text,
    redacts text,
    json bytea NOT NULL,
    PRIMARY KEY (room_id, event_id)
);
CREATE UNIQUE INDEX events_by_nid ON events (nid);
CREATE INDEX events_timeline ON events (room_id, nid) WHERE in_timeline;
CREATE INDEX events_redactions ON events (room_id, redacts) WHERE redacts IS NOT NULL;

-- State by validity interval: current while valid_to is null.
CREATE TABLE room_state (
    room_id text NOT NULL,
    type text NOT NULL,
    state_key text NOT NULL,
    event_id text NOT NULL,
    valid_from bigint NOT NULL,
    valid_to bigint
);
CREATE UNIQUE INDEX room_state_current ON room_state (room_id, type, state_key) WHERE valid_to IS NULL;
CREATE INDEX room_state_since ON room_state (room_id, valid_from);
CREATE INDEX room_state_by_key ON room_state (room_id, type, state_key, valid_from);

-- `row` is a UserRoom as JSON; kept for users that have a device here.
CREATE TABLE user_rooms (
    user_id text NOT NULL,
    room_id text NOT NULL,
    membership text NOT NULL,
    row bytea NOT NULL,
    PRIMARY KEY (user_id, room_id)
);
CREATE INDEX user_rooms_joined ON user_rooms (room_id, user_id) WHERE membership = 'join';

-- room_id '' is global
CREATE TABLE account_data (
    user_id text NOT NULL,
    room_id text NOT NULL,
    type text NOT NULL,
    nid bigint NOT NULL,
    json bytea NOT NULL,
    PRIMARY KEY (user_id, room_id, type)
);

-- thread_id '' is unthreaded
CREATE TABLE receipts (
    room_id text NOT NULL,
    user_id text NOT NULL,
    thread_id text NOT NULL,
    private boolean NOT NULL,
    event_id text NOT NULL,
    ts bigint NOT NULL,
    nid bigint NOT NULL,
    PRIMARY KEY (room_id, user_id, thread_id, private)
);
CREATE INDEX receipts_on_event ON receipts (room_id, event_id);
CREATE INDEX receipts_since ON receipts (room_id, nid);
CREATE INDEX receipts_of_user ON receipts (user_id);

CREATE TABLE to_device (
    user_id text NOT NULL,
    device_id text NOT NULL,
    nid bigint NOT NULL,
    json bytea NOT NULL,
    PRIMARY KEY (user_id, device_id, nid)
);

CREATE TABLE device_list_changes (
    user_id text NOT NULL,
    device_id text NOT NULL,
    nid bigint NOT NULL,
    target text NOT NULL,
    kind text NOT NULL,
    PRIMARY KEY (user_id, device_id, nid)
);

CREATE TABLE transaction_ids (
    user_id text NOT NULL,
    device_id text NOT NULL,
    event_id text NOT NULL,
    transaction_id text NOT NULL,
    stored_ms bigint NOT NULL,
    PRIMARY KEY (user_id, device_id, event_id)
);
CREATE INDEX transaction_ids_by_age ON transaction_ids (stored_ms);
