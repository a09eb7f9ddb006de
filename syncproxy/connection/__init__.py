"""Stage 6: connections, whose state is a value and whose answers are deltas."""
