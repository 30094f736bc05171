"""Making servers ready: the schema, the log, and the number of partitions."""

from daybook.extras import require

require("worker")
