"""Read the journal behind a cursor: (partition, sequence) never skips and never repeats.

    daybook up --detach
    python examples/read_journal.py

Prints what stands in read_journal.out. Any role with the rights of daybook_reader can do this.
"""

from __future__ import annotations

import psycopg
from psycopg.rows import dict_row

from daybook import Client
from daybook.settings import Settings

NEWER = """
    SELECT partition, sequence, reference, status, precise_amount, currency FROM transactions
    WHERE partition = %s AND sequence > %s AND kind = 'transaction' AND parts IS NULL
    ORDER BY sequence LIMIT 1000
"""
ENDS = "SELECT partition, sequence FROM partitions ORDER BY partition"


def main() -> None:
    database_url = Settings().require_database_url()
    with psycopg.connect(database_url, row_factory=dict_row, autocommit=True) as connection:
        # A reader keeps its cursors wherever it likes; this one begins at the present end.
        cursors = {row["partition"]: row["sequence"] for row in connection.execute(ENDS)}

        with Client() as client:
            book = client.create_balance("general_ledger_id", "USD")
            receipts = [
                client.enqueue(
                    reference=f"{book.id}-{number}",
                    source="@World",
                    destination=book.id,
                    currency="USD",
                    precise_amount=number * 100,
                    precision=100,
                    allow_overdraft=True,
                )
                for number in (1, 2, 3)
            ]
            client.wait_many(receipts, timeout=30)

        for partition, sequence in cursors.items():
            for row in connection.execute(NEWER, (partition, sequence)):
                if row["reference"].startswith(book.id):
                    number = row["reference"].rpartition("-")[2]
                    print(number, row["status"], row["precise_amount"], row["currency"])
                cursors[partition] = row["sequence"]


if __name__ == "__main__":
    main()
