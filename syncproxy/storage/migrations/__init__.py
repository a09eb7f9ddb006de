"""Numbered SQL: `NNNN_name.sql` brings the schema from version NNNN - 1 to NNNN. The text is never changed later."""
