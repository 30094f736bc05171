"""The embedded default: PostgreSQL and Valkey from their wheels, workers, beat and Flower.

Only the command line and tests import this package; producers never do.
"""

from daybook.extras import require

require("embedded")

from daybook.embedded.parts import PartFailed
from daybook.embedded.servers import Servers, start_servers

__all__ = ["PartFailed", "Servers", "start_servers"]
