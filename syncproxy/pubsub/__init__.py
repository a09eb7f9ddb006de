"""Stage 4: what is new, carried from the handler to the dispatcher."""
