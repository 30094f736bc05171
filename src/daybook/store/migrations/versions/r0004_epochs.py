"""Epochs: since when there are how many partitions."""

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
    ADD COLUMN total integer;
UPDATE partitions SET total = (SELECT partitions FROM installation);
ALTER TABLE partitions
    ALTER COLUMN total SET NOT NULL;
"""

GRANTS = """
GRANT SELECT ON epochs TO daybook_reader, daybook_worker;
GRANT INSERT ON epochs, partitions TO daybook_worker;
GRANT UPDATE (epoch, total) ON partitions TO daybook_worker;
"""


def upgrade() -> None:
    for script in (TABLES, GRANTS):
        op.execute(script)


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
