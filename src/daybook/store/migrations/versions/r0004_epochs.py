"""Epochs: since when there are how many partitions, and who knows of it."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE epochs (
    epoch integer PRIMARY KEY,
    partitions integer NOT NULL,
    fence bigint NOT NULL,
    turned_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO epochs (epoch, partitions, fence, turned_at)
    SELECT 1, partitions, 0, created_at FROM installation;
ALTER TABLE partitions
    ADD COLUMN epoch integer NOT NULL DEFAULT 1,
    ADD COLUMN total integer,
    ADD COLUMN witness bigint;
UPDATE partitions SET total = (SELECT partitions FROM installation);
ALTER TABLE partitions
    ALTER COLUMN total SET NOT NULL,
    ALTER COLUMN witness SET DEFAULT 0,
    ADD CONSTRAINT partitions_witness CHECK (witness = batch);
"""
# A worker that knows no epochs counts up the batch and leaves the witness alone. That is allowed
# where the witness is null: workers of both versions go on side by side until the first resize.

GRANTS = """
GRANT SELECT ON epochs TO daybook_reader, daybook_worker;
GRANT INSERT ON epochs, partitions TO daybook_worker;
GRANT UPDATE (epoch, total, witness) ON partitions TO daybook_worker;
"""


def upgrade() -> None:
    for script in (TABLES, GRANTS):
        op.execute(script)


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
