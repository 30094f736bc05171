"""Whether all is well, judged from the facts in Postgres and in the log."""

from daybook.extras import require

require("worker")
