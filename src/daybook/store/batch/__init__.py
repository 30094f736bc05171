"""The unit of work of a batch: what it reads, and what it writes."""
