"""What Daybook is compared with: one Celery message, and one unit of work, per transaction.

Written as such services usually are: the task locks both balances in the order of their ids,
inserts a row that is unique by reference, changes the balances, and commits.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import psycopg
from celery import Celery

QUEUE = "one-message-each"

SCHEMA = """
CREATE TABLE plain_balances (id uuid PRIMARY KEY, amount numeric NOT NULL DEFAULT 0);
CREATE TABLE plain_transactions (
    reference text PRIMARY KEY, source uuid NOT NULL, destination uuid NOT NULL,
    amount numeric NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON plain_transactions (source);
CREATE INDEX ON plain_transactions (destination);
"""

app = Celery("one-message-each", broker=os.environ.get("PLAIN_BROKER_URL"), set_as_current=False)
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,  # the usual way not to lose a message with its worker
    broker_connection_retry_on_startup=True,
)


@lru_cache(maxsize=1)
def _connection() -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ["PLAIN_DATABASE_URL"])


@app.task(name="plain.post")
def post(reference: str, source: str, destination: str, amount: int) -> None:
    """Post one transaction."""
    with _connection().transaction():
        cursor = _connection().cursor()
        cursor.execute(
            "SELECT id FROM plain_balances WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE",
            ([source, destination],),
        )
        cursor.execute(
            "INSERT INTO plain_transactions (reference, source, destination, amount) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (reference, source, destination, amount),
        )
        if cursor.rowcount:
            for balance, change in ((source, -amount), (destination, amount)):
                cursor.execute(
                    "UPDATE plain_balances SET amount = amount + %s WHERE id = %s",
                    (change, balance),
                )
