"""The whole ledger as a file, and back."""
