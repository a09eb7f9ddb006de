"""Stage 6: the extensions of sliding sync."""
