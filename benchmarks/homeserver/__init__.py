"""The homeserver stand-in: `/sync` v2 from memory, for thousands of users and rooms."""
