"""What an administrator writes directly, and not through the log: the keys of the HTTP API.

Nothing of it is money, so nothing of it needs an order. It has a role of its own in the database,
``daybook_registrar``, which may write this and nothing else.
"""

from daybook.extras import require

require("worker")
