-- Edits and thread replies are bundled with the events that they are about.

-- what an edit or a reply is about: NULL for all other events
ALTER TABLE events ADD COLUMN relates_to text;
-- whoever sees the room up to this nid may see what is bundled with the event; NULL: nothing is, or it came before this
ALTER TABLE events ADD COLUMN relations_nid bigint;
-- what a snapshot has bundled is its user's
ALTER TABLE snapshot_events ADD COLUMN relations_nid bigint;
