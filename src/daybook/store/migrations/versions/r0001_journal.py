"""The journal, what is derived from it, and who may do what."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = r"""
CREATE TABLE installation (
    id smallint PRIMARY KEY,
    partitions integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT installation_is_one CHECK (id = 1),
    CONSTRAINT installation_partitions CHECK (partitions >= 1 AND partitions <= 4096)
);

CREATE TABLE partitions (
    partition smallint PRIMARY KEY,
    cursor bigint NOT NULL DEFAULT 0,
    sequence bigint NOT NULL DEFAULT 0,
    head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    batch bigint NOT NULL DEFAULT 0,
    batch_sequence bigint NOT NULL DEFAULT 0,
    batch_outcomes text,
    applied_at timestamptz
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
        (to_timestamp((position >> 20)::double precision / 1000::double precision)) STORED
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX balances_indicator_currency_key ON balances (indicator, currency);
CREATE INDEX balances_ledger_id_idx ON balances (ledger_id);
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
    PRIMARY KEY (partition, sequence)
);
CREATE UNIQUE INDEX transactions_transaction_id_key ON transactions (transaction_id);
CREATE INDEX transactions_derived_reference_idx ON transactions (reference) WHERE derived;
CREATE INDEX transactions_parent_transaction_idx ON transactions (parent_transaction)
    WHERE parent_transaction IS NOT NULL;
CREATE INDEX transactions_source_idx ON transactions (source, position);
CREATE INDEX transactions_destination_idx ON transactions (destination, position);

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
    commits integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE held_over (
    partition smallint NOT NULL,
    position bigint NOT NULL,
    slot smallint NOT NULL,
    request_id text NOT NULL,
    brings text[] NOT NULL,
    flags text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (partition, position)
);

CREATE TABLE refusals (
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
    PRIMARY KEY (partition, position)
);
CREATE INDEX refusals_reference_idx ON refusals (reference) WHERE uses_reference;
CREATE INDEX refusals_request_id_idx ON refusals (request_id);

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
    FOREACH role_name IN ARRAY ARRAY['daybook_worker', 'daybook_reader'] LOOP
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
GRANT INSERT ON transactions, taken_references, ledgers, balances, holds, held_over, refusals
    TO daybook_worker;
GRANT UPDATE (cursor, sequence, head, batch, batch_sequence, batch_outcomes, applied_at)
    ON partitions TO daybook_worker;
GRANT UPDATE (credit_balance, debit_balance, inflight_credit_balance, inflight_debit_balance,
    version, precision) ON balances TO daybook_worker;
GRANT UPDATE (committed, voided, commits) ON holds TO daybook_worker;
GRANT DELETE ON held_over TO daybook_worker;
"""


def upgrade() -> None:
    for script in (TABLES, APPEND_ONLY, ROLES, GRANTS):
        op.execute(script)


def downgrade() -> None:
    raise NotImplementedError("the journal is never taken back: restore a backup instead")
