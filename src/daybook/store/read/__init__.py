"""The read path: what the ledger knows, as views. Nothing here writes, or locks a row."""
