"""Nobody sees what is not theirs: random histories of a homeserver against what the proxy's answers show."""
