"""One module per table: its rows, and its SQL beside them."""
