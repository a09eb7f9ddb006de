-- Rooms that nobody else here was in, each as it was when a user left it: that user's alone, and nobody's current state.
-- So they are not among `events` and `room_state`: what comes of the room later must find nothing of them.

CREATE TABLE snapshot_events (
    user_id text NOT NULL,
    room_id text NOT NULL,
    -- whether it is of the state as at the leave, of the timeline, or of both
    in_state boolean NOT NULL,
    in_timeline boolean NOT NULL,
    event_id text NOT NULL,
    nid bigint NOT NULL,
    type text NOT NULL,
    sender text NOT NULL,
    state_key text,
    membership text,
    origin_server_ts bigint NOT NULL,
    recency bigint NOT NULL,
    sort_ts bigint NOT NULL,
    gap_before boolean NOT NULL,
    prev_batch text,
    json bytea NOT NULL,
    PRIMARY KEY (user_id, room_id, nid)
);
CREATE INDEX snapshot_events_by_nid ON snapshot_events (nid);
