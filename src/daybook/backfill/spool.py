"""What a run keeps on disk while it lasts: databases of its own, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from daybook.errors import ConfigError

CACHE_KIB = 64 * 1024
"""Memory for each; what is beyond lies in a temporary file that nobody else can open.

A reference costs some 30 bytes; a file in another order lies there whole.
"""

PAGES_MAX = (1 << 32) - 2
"""Of 4 KiB, of a temporary file: some 16 TiB, more than any disk of such a run has."""

_DIGEST_BYTES = 16


def database(table: str) -> sqlite3.Connection:
    """A database of its own, which is gone when it is closed. Nothing of it outlives the run."""
    with disk():
        made = sqlite3.connect("", isolation_level=None)
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            f"cache_size=-{CACHE_KIB}",
            f"max_page_count={PAGES_MAX}",
        ):
            made.execute(f"PRAGMA {pragma}")
        made.execute(table)
        made.execute("BEGIN")  # never ended: a transaction for each row would be written each time
    return made


@contextmanager
def disk() -> Iterator[None]:
    """Raises ConfigError when the temporary file can't be written."""
    try:
        yield
    except sqlite3.OperationalError as fault:
        raise ConfigError(
            f"the temporary file of the run cannot be written ({fault}): set SQLITE_TMPDIR to a "
            "folder with room"
        ) from None


def digest(text: str) -> bytes:
    """16 bytes that stand for a text of any length."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
