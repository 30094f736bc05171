"""${message}"""

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else 'raise NotImplementedError("say what changes")'}


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
