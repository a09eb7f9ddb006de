"""Stage 1: the homeserver, as a client of it sees it."""
