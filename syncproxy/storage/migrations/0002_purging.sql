-- What purging needs to know: how old things are, who was polled for, and where to find what goes.

-- every few minutes the newest nid: what ended at or before it is at least as old as its mark
CREATE TABLE marks (
    nid bigint PRIMARY KEY,
    stored_ms bigint NOT NULL
);

-- when the device was last known to have a poller, to the hour
ALTER TABLE devices ADD COLUMN polled_ms bigint NOT NULL DEFAULT 0;
-- the `since` that a purge of rooms cleared: changes of device lists are to be asked for from there on
ALTER TABLE devices ADD COLUMN purged_since text;

CREATE INDEX room_state_ended ON room_state (valid_to) WHERE valid_to IS NOT NULL;
CREATE INDEX user_rooms_of_room ON user_rooms (room_id);
