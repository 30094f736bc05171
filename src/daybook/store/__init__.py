"""Postgres: the schema, its migrations, the write path of the worker and the read path."""

from daybook.extras import require

require("worker")
