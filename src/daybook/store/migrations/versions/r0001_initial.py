"""The journal, what is derived from it, and who may do what."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

# Most records take effect when they are accepted, and cost one index entry for each side; those
# with a date of their own cost two. Legs and items need no index by label or by parent: their ids
# follow from that of their request.
TABLES = r"""
CREATE TABLE installation (
    id smallint PRIMARY KEY,
    partitions integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    installation_id uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT installation_is_one CHECK (id = 1),
    CONSTRAINT installation_partitions CHECK (partitions >= 1 AND partitions <= 4096)
);

CREATE TABLE epochs (
    epoch integer PRIMARY KEY,
    partitions integer NOT NULL,
    fence bigint NOT NULL,
    advanced_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE partitions (
    partition smallint PRIMARY KEY,
    cursor bigint NOT NULL DEFAULT 0,
    sequence bigint NOT NULL DEFAULT 0,
    head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    batch bigint NOT NULL DEFAULT 0,
    batch_sequence bigint NOT NULL DEFAULT 0,
    batch_outcomes text,
    applied_at timestamptz,
    epoch integer NOT NULL DEFAULT 1,
    total integer NOT NULL
);

CREATE TABLE ledgers (
    ledger_id text PRIMARY KEY,
    name text NOT NULL,
    meta_data json,
    fingerprint bytea,
    position bigint NOT NULL DEFAULT 0,
    created_at timestamptz GENERATED ALWAYS AS
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED
);

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

CREATE TABLE api_keys (
    api_key_id uuid PRIMARY KEY,
    prefix text NOT NULL UNIQUE,
    hash bytea NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    scopes text[] NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_owner ON api_keys (owner);

CREATE TABLE accounts (
    account_id uuid PRIMARY KEY,
    number text NOT NULL UNIQUE,
    bank_name text NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    balance_id uuid NOT NULL,
    ledger_id text NOT NULL,
    identity_id uuid,
    created_at timestamptz NOT NULL,
    meta_data json
);
CREATE INDEX accounts_balance_id_idx ON accounts (balance_id);
CREATE INDEX accounts_created_at_idx ON accounts (created_at);

CREATE TABLE balances (
    balance_id uuid PRIMARY KEY,
    ledger_id text NOT NULL REFERENCES ledgers (ledger_id),
    currency text NOT NULL,
    precision numeric(31, 0),
    indicator text,
    meta_data json,
    credit_balance numeric(110, 0) NOT NULL DEFAULT 0,
    debit_balance numeric(110, 0) NOT NULL DEFAULT 0,
    inflight_credit_balance numeric(110, 0) NOT NULL DEFAULT 0,
    inflight_debit_balance numeric(110, 0) NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    fingerprint bytea,
    position bigint NOT NULL DEFAULT 0,
    created_at timestamptz GENERATED ALWAYS AS
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED,
    identity_id uuid REFERENCES identities (identity_id),
    CONSTRAINT balances_figures CHECK (credit_balance >= 0 AND debit_balance >= 0
        AND inflight_credit_balance >= 0 AND inflight_debit_balance >= 0)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX balances_indicator_currency_key ON balances (indicator, currency);
CREATE INDEX balances_ledger_id_idx ON balances (ledger_id);
CREATE INDEX balances_identity_id_idx ON balances (identity_id) WHERE identity_id IS NOT NULL;
CREATE INDEX balances_external_id_idx ON balances USING hash ((meta_data ->> 'external_id'));

CREATE TABLE transactions (
    partition smallint NOT NULL,
    sequence bigint NOT NULL,
    transaction_id uuid NOT NULL,
    kind text NOT NULL,
    reference text NOT NULL,
    derived boolean NOT NULL,
    parent_transaction uuid,
    source uuid,
    destination uuid,
    currency text NOT NULL,
    precision numeric(31, 0),
    precise_amount numeric(110, 0),
    status text NOT NULL,
    reason text,
    detail text,
    description text NOT NULL,
    allow_overdraft boolean NOT NULL,
    overdraft_limit numeric,
    position bigint NOT NULL,
    effective_date timestamptz NOT NULL,
    meta_data json,
    fingerprint bytea NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz GENERATED ALWAYS AS
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED,
    parts integer,
    part integer,
    inflight_expiry_date timestamptz,
    inflight_commit_date timestamptz,
    scheduled_for timestamptz,
    subject text,
    change json,
    PRIMARY KEY (partition, sequence),
    CONSTRAINT transactions_amount CHECK (precise_amount > 0)
);
CREATE UNIQUE INDEX transactions_transaction_id_key ON transactions (transaction_id);
CREATE INDEX transactions_subject_idx ON transactions (subject, position)
    WHERE subject IS NOT NULL;
CREATE INDEX transactions_derived_reference_idx ON transactions (reference)
    WHERE derived AND kind <> 'transaction';
CREATE INDEX transactions_parent_transaction_idx ON transactions (parent_transaction)
    WHERE parent_transaction IS NOT NULL AND kind <> 'transaction';
CREATE INDEX transactions_position_idx ON transactions (position);
CREATE INDEX transactions_unapplied_idx ON transactions (status, position)
    WHERE status <> 'APPLIED';
CREATE INDEX transactions_dated_idx ON transactions (effective_date)
    WHERE effective_date <> created_at;
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

CREATE TABLE taken_references (
    reference text PRIMARY KEY,
    owner uuid
);

CREATE TABLE holds (
    transaction_id uuid PRIMARY KEY,
    source uuid NOT NULL,
    destination uuid NOT NULL,
    currency text NOT NULL,
    precision numeric(31, 0) NOT NULL,
    amount numeric(110, 0) NOT NULL,
    committed numeric(110, 0) NOT NULL DEFAULT 0,
    voided numeric(110, 0) NOT NULL DEFAULT 0,
    commits integer NOT NULL DEFAULT 0,
    leg_of uuid,
    bulk uuid,
    inflight_expiry_date timestamptz,
    inflight_commit_date timestamptz,
    CONSTRAINT holds_amounts CHECK (amount > 0 AND committed >= 0 AND voided >= 0
        AND amount >= (committed + voided))
) WITH (fillfactor = 70);
CREATE INDEX holds_leg_of_idx ON holds (leg_of) WHERE leg_of IS NOT NULL;
CREATE INDEX holds_bulk_idx ON holds (bulk) WHERE bulk IS NOT NULL;
CREATE INDEX holds_due_idx ON holds (LEAST(inflight_expiry_date, inflight_commit_date))
    WHERE amount > (committed + voided)
        AND LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL;

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

CREATE TABLE deferred_entries (
    partition smallint NOT NULL,
    position bigint NOT NULL,
    slot smallint NOT NULL,
    request_id text NOT NULL,
    may_credit text[] NOT NULL,
    flags text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (partition, position)
);

CREATE TABLE rejected_requests (
    partition smallint NOT NULL,
    position bigint NOT NULL,
    request_id text NOT NULL,
    reference text,
    uses_reference boolean NOT NULL,
    reason text NOT NULL,
    detail text,
    body bytea NOT NULL,
    traceback text,
    created_at timestamptz GENERATED ALWAYS AS
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED,
    resolved text,
    resolved_by text,
    resolved_why text,
    resolved_at timestamptz,
    PRIMARY KEY (partition, position)
);
CREATE INDEX rejected_requests_reference_idx ON rejected_requests (reference) WHERE uses_reference;
CREATE INDEX rejected_requests_request_id_idx ON rejected_requests (request_id);
CREATE INDEX rejected_requests_quarantined_idx ON rejected_requests (position)
    WHERE reason = 'quarantined';

INSERT INTO ledgers (ledger_id, name) VALUES ('general_ledger_id', 'General Ledger');
"""

APPEND_ONLY = """
CREATE FUNCTION daybook_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION daybook_refuse_change();
"""

# Roles belong to the whole cluster: another database of it may have made them already, or be
# making them at this moment.
ROLES = """
DO $$
DECLARE role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['daybook_worker', 'daybook_reader', 'daybook_registrar'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % is missing and % may not create it: run '
                        '"CREATE ROLE % NOLOGIN" as an administrator, then migrate again',
                        role_name, current_user, role_name;
            END;
        END IF;
    END LOOP;
END
$$;
"""

GRANTS = """
GRANT SELECT ON ALL TABLES IN SCHEMA public TO daybook_reader, daybook_worker;
REVOKE ALL ON api_keys FROM daybook_reader, daybook_worker;
GRANT SELECT, INSERT ON api_keys, accounts TO daybook_registrar;
GRANT UPDATE (last_used_at, revoked_at) ON api_keys TO daybook_registrar;
GRANT INSERT ON transactions, taken_references, ledgers, balances, identities, holds, schedules,
    transaction_metadata, deferred_entries, rejected_requests, snapshots, balance_snapshots, epochs,
    partitions TO daybook_worker;
GRANT UPDATE (cursor, sequence, head, batch, batch_sequence, batch_outcomes, applied_at, epoch,
    total) ON partitions TO daybook_worker;
GRANT UPDATE (credit_balance, debit_balance, inflight_credit_balance, inflight_debit_balance,
    version, precision, meta_data, identity_id) ON balances TO daybook_worker;
GRANT UPDATE (committed, voided, commits) ON holds TO daybook_worker;
GRANT UPDATE (name, meta_data) ON ledgers TO daybook_worker;
GRANT UPDATE (identity_type, first_name, last_name, other_names, organization_name, category,
    gender, dob, email_address, phone_number, nationality, street, city, state, post_code, country,
    meta_data) ON identities TO daybook_worker;
GRANT UPDATE (meta_data) ON transaction_metadata TO daybook_worker;
GRANT UPDATE (resolved, resolved_by, resolved_why, resolved_at) ON rejected_requests
    TO daybook_worker;
GRANT DELETE ON deferred_entries, schedules TO daybook_worker;
"""


def upgrade() -> None:
    for script in (TABLES, APPEND_ONLY, ROLES, GRANTS):
        op.execute(script)


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
