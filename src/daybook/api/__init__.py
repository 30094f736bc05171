"""The HTTP API: what is written for Blnk runs against Daybook by changing the base URL."""

from daybook.extras import require

require("api")
