"""What was set aside can be settled: tried again, or left for good."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

REFUSALS = """
ALTER TABLE refusals
    ADD COLUMN settled text,
    ADD COLUMN settled_by text,
    ADD COLUMN settled_why text,
    ADD COLUMN settled_at timestamptz;
CREATE INDEX refusals_quarantined_idx ON refusals (position) WHERE reason = 'quarantined';
GRANT UPDATE (settled, settled_by, settled_why, settled_at) ON refusals TO daybook_worker;
"""


def upgrade() -> None:
    op.execute(REFUSALS)


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
