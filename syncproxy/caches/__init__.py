"""Stage 5: what is true for everyone, and for one user, in memory."""
