"""Matrix vocabulary; imports nothing of ours."""
