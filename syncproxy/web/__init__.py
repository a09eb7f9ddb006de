"""Stage 7: HTTP."""
