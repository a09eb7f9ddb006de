"""The tables that say by which test each sentence of the specification was seen."""
