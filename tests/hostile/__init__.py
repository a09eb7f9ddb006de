"""Clients that mean no good, or are many, before the real service."""
