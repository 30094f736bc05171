"""``daybook demo``: a small shop's day, played against real servers and real workers.

``story`` says what is sent and what must come of it (``narration``, ``groups`` and ``tally`` are
its parts), ``play`` sends it and kills a worker on the way. Then ``scenes`` play one request of
every kind on their ``stage``, and an ``observer`` reads what the ledger shows. ``checks`` compare
all that was found with what was promised.
"""

from daybook.extras import require

require("embedded")
