-- How far a device was handed to-device messages, as far as it matters after a restart: what is asked for in a key
-- request that went out must be withdrawn, too.

ALTER TABLE devices ADD COLUMN to_device_handed_out bigint NOT NULL DEFAULT 0;
-- releases before did not note it: all may have gone out
UPDATE devices SET to_device_handed_out = to_device_position;
