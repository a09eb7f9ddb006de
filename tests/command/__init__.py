"""Options, logs, start and stop."""
