"""The embedded default: PostgreSQL and Valkey from their wheels, workers, beat, API and Flower.

Only the command line and tests import this package; producers never do.
"""

from daybook.extras import require

require("embedded")
