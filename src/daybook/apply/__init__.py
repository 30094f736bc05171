"""Applying the log to the ledger, batch by batch, and what must be done beside it. No Celery."""

from daybook.extras import require

require("worker")
