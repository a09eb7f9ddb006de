-- Where a device's last timeline of a room was dropped, for others bring what is newer, its next one does not follow
-- what is stored: the rooms' ids, a JSON list; NULL: there are none.

ALTER TABLE devices ADD COLUMN detached_rooms bytea;
