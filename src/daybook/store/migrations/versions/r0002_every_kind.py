"""Every kind of transaction, what depends on time, identities and snapshots."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

JOURNAL = """
ALTER TABLE transactions
    ADD COLUMN parts integer,
    ADD COLUMN part integer,
    ADD COLUMN inflight_expiry_date timestamptz,
    ADD COLUMN inflight_commit_date timestamptz,
    ADD COLUMN scheduled_for timestamptz,
    ADD COLUMN subject text,
    ADD COLUMN change json;
CREATE INDEX transactions_subject_idx ON transactions (subject, position)
    WHERE subject IS NOT NULL;
DROP INDEX transactions_derived_reference_idx;
CREATE INDEX transactions_derived_reference_idx ON transactions (reference)
    WHERE derived AND kind <> 'transaction';
DROP INDEX transactions_parent_transaction_idx;
CREATE INDEX transactions_parent_transaction_idx ON transactions (parent_transaction)
    WHERE parent_transaction IS NOT NULL AND kind <> 'transaction';
DROP INDEX transactions_source_idx;
DROP INDEX transactions_destination_idx;
CREATE INDEX transactions_source_idx ON transactions (source, position)
    WHERE effective_date = created_at;
CREATE INDEX transactions_destination_idx ON transactions (destination, position)
    WHERE effective_date = created_at;
CREATE INDEX transactions_source_dated_idx ON transactions (source, effective_date)
    WHERE effective_date <> created_at;
CREATE INDEX transactions_destination_dated_idx ON transactions (destination, effective_date)
    WHERE effective_date <> created_at;
CREATE INDEX transactions_source_dated_position_idx ON transactions (source, position)
    WHERE effective_date <> created_at;
CREATE INDEX transactions_destination_dated_position_idx ON transactions (destination, position)
    WHERE effective_date <> created_at;
"""
"""Most records take effect when they are accepted, and cost one index entry for each side; those
with a date of their own cost two. Legs and items need no index by label or by parent: their ids
follow from that of their request."""

HOLDS = """
ALTER TABLE holds
    ADD COLUMN split uuid,
    ADD COLUMN bulk uuid,
    ADD COLUMN inflight_expiry_date timestamptz,
    ADD COLUMN inflight_commit_date timestamptz;
CREATE INDEX holds_split_idx ON holds (split) WHERE split IS NOT NULL;
CREATE INDEX holds_bulk_idx ON holds (bulk) WHERE bulk IS NOT NULL;
CREATE INDEX holds_due_idx ON holds (LEAST(inflight_expiry_date, inflight_commit_date))
    WHERE amount > (committed + voided)
        AND LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL;
"""

TABLES = """
CREATE TABLE schedules (
    transaction_id uuid PRIMARY KEY,
    reference text NOT NULL,
    scheduled_for timestamptz NOT NULL,
    position bigint NOT NULL,
    flags text NOT NULL,
    fingerprint bytea NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz GENERATED ALWAYS AS
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED
);
CREATE INDEX schedules_due_idx ON schedules (scheduled_for, position);

CREATE TABLE identities (
    identity_id uuid PRIMARY KEY,
    identity_type text,
    first_name text,
    last_name text,
    other_names text,
    organization_name text,
    category text,
    gender text,
    dob text,
    email_address text,
    phone_number text,
    nationality text,
    street text,
    city text,
    state text,
    post_code text,
    country text,
    meta_data json,
    fingerprint bytea NOT NULL,
    position bigint NOT NULL,
    created_at timestamptz GENERATED ALWAYS AS
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED
);

ALTER TABLE balances ADD COLUMN identity_id uuid REFERENCES identities (identity_id);
CREATE INDEX balances_identity_id_idx ON balances (identity_id) WHERE identity_id IS NOT NULL;

CREATE TABLE transaction_metadata (
    transaction_id uuid PRIMARY KEY,
    meta_data json NOT NULL
);

CREATE TABLE snapshots (
    moment timestamptz PRIMARY KEY,
    position bigint NOT NULL,
    balances bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE balance_snapshots (
    balance_id uuid NOT NULL,
    moment timestamptz NOT NULL,
    position bigint NOT NULL,
    credit_balance numeric(110, 0) NOT NULL,
    debit_balance numeric(110, 0) NOT NULL,
    PRIMARY KEY (balance_id, moment)
);
"""

GRANTS = """
GRANT SELECT ON schedules, identities, transaction_metadata, snapshots, balance_snapshots
    TO daybook_reader, daybook_worker;
GRANT INSERT ON schedules, identities, transaction_metadata, snapshots, balance_snapshots
    TO daybook_worker;
GRANT DELETE ON schedules TO daybook_worker;
GRANT UPDATE (name, meta_data) ON ledgers TO daybook_worker;
GRANT UPDATE (meta_data, identity_id) ON balances TO daybook_worker;
GRANT UPDATE (identity_type, first_name, last_name, other_names, organization_name, category,
    gender, dob, email_address, phone_number, nationality, street, city, state, post_code, country,
    meta_data) ON identities TO daybook_worker;
GRANT UPDATE (meta_data) ON transaction_metadata TO daybook_worker;
"""


def upgrade() -> None:
    for script in (JOURNAL, HOLDS, TABLES, GRANTS):
        op.execute(script)


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
