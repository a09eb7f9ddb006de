"""The load client: asks as clients do, and times from its own side."""
