-- Sticky events (MSC4354), for as long as they are sticky: in an order of their own, whenever their rooms' timelines
-- came by them.

CREATE TABLE sticky_events (
    room_id text NOT NULL,
    event_id text NOT NULL,
    -- whose poller brought it, where the user came into the room after it was stored; else '', which is everybody
    for_user text NOT NULL,
    nid bigint NOT NULL,
    sender text NOT NULL,
    expires_ms bigint NOT NULL,
    json bytea NOT NULL,
    PRIMARY KEY (room_id, event_id, for_user)
);
CREATE INDEX sticky_events_since ON sticky_events (room_id, nid);
CREATE INDEX sticky_events_by_age ON sticky_events (expires_ms);
