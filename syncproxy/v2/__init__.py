"""Stage 2: polling `/sync` v2 for each device."""
