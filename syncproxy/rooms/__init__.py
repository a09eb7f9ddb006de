"""Pure rules on rooms: timelines, freshness, state, membership, counts, visibility."""
