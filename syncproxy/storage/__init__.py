"""Stage 3: what is durable. Nothing outside of this package knows SQL."""
