"""The tables. Migrations make them; a test holds that both say the same.

Ids are stored as ``uuid`` and shown with their prefix (``txn_``, ``bln_``). Amounts and figures
are integers in minor units. Roles and the trigger that makes the journal append-only stand in the
first migration.
"""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.money import FIGURE_COLUMN_DIGITS

WORKER_ROLE = "daybook_worker"
"""Group role without login: what a worker may do. Login roles are made members of it."""

READER_ROLE = "daybook_reader"
"""Group role without login: may read everything and write nothing."""

REGISTRAR_ROLE = "daybook_registrar"
"""Group role without login: may write the registry (API keys, accounts), and read nothing else."""

APPEND_ONLY_TRIGGER = "transactions_append_only"
"""Refuses every change of the journal, no matter who asks for it."""

APPEND_ONLY_BODY = """
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
"""
"""What its function does, as the first migration makes it."""

CREATED_AT = "to_timestamp(((position >> 20))::double precision / (1000)::double precision)"

GENESIS_HEAD = "decode(repeat('00'::text, 32), 'hex'::text)"

metadata = MetaData()


def _figure(name: str) -> Column[Decimal]:
    return Column(name, Numeric(FIGURE_COLUMN_DIGITS, 0), nullable=False, server_default="0")


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), Computed(CREATED_AT, persisted=True))


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("partitions", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("installation_id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    CheckConstraint("id = 1", name="installation_is_one"),
    CheckConstraint("partitions >= 1 AND partitions <= 4096", name="installation_partitions"),
)
"""What all processes agree on: one row. partitions: how many there were at first. installation_id:
its log has the same, so that nobody applies the log of another installation."""

epochs = Table(
    "epochs",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("partitions", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("advanced_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
"""Since when there are how many partitions. fence: entries behind this position are routed by
that number. advanced_at: since when workers decide by it."""

partitions = Table(
    "partitions",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("cursor", BigInteger, nullable=False, server_default="0"),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column(
        "head", LargeBinary, nullable=False, server_default=text(r"'\x" + "00" * 32 + "'::bytea")
    ),
    Column("batch", BigInteger, nullable=False, server_default="0"),
    Column("batch_sequence", BigInteger, nullable=False, server_default="0"),
    Column("batch_outcomes", Text),
    Column("applied_at", DateTime(timezone=True)),
    Column("epoch", Integer, nullable=False, server_default="1"),
    Column("total", Integer, nullable=False),
)
"""One row each: locking it is what makes a partition serial. cursor: position of the last
entry read; sequence, head: of the last journal row; batch: number of the last unit of work,
batch_sequence: the sequence before it, batch_outcomes: its outcomes that the journal does
not show; epoch: the one that its entries are of, total: how many partitions that has, those from
there on are closed."""

ledgers = Table(
    "ledgers",
    metadata,
    Column("ledger_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("meta_data", JSON),
    Column("fingerprint", LargeBinary),
    Column("position", BigInteger, nullable=False, server_default="0"),
    _created_at(),
)

balances = Table(
    "balances",
    metadata,
    Column("balance_id", Uuid, primary_key=True),
    Column("ledger_id", Text, ForeignKey("ledgers.ledger_id"), nullable=False),
    Column("currency", Text, nullable=False),
    Column("precision", Numeric(31, 0)),
    Column("indicator", Text),
    Column("meta_data", JSON),
    _figure("credit_balance"),
    _figure("debit_balance"),
    _figure("inflight_credit_balance"),
    _figure("inflight_debit_balance"),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("fingerprint", LargeBinary),
    Column("position", BigInteger, nullable=False, server_default="0"),
    _created_at(),
    Column("identity_id", Uuid, ForeignKey("identities.identity_id")),
    Index("balances_indicator_currency_key", "indicator", "currency", unique=True),
    Index("balances_ledger_id_idx", "ledger_id"),
    Index(
        "balances_identity_id_idx",
        "identity_id",
        postgresql_where=text("identity_id IS NOT NULL"),
    ),
    Index(
        "balances_external_id_idx",
        text("(meta_data ->> 'external_id')"),
        postgresql_using="hash",  # of any length
    ),
    CheckConstraint(
        "credit_balance >= 0 AND debit_balance >= 0 AND inflight_credit_balance >= 0 "
        "AND inflight_debit_balance >= 0",
        name="balances_figures",
    ),
    postgresql_with={"fillfactor": "70"},
)

transactions = Table(
    "transactions",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("transaction_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("derived", Boolean, nullable=False),
    Column("parent_transaction", Uuid),
    Column("source", Uuid),
    Column("destination", Uuid),
    Column("currency", Text, nullable=False),
    Column("precision", Numeric(31, 0)),
    Column("precise_amount", Numeric(FIGURE_COLUMN_DIGITS, 0)),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("description", Text, nullable=False),
    Column("allow_overdraft", Boolean, nullable=False),
    Column("overdraft_limit", Numeric),
    Column("position", BigInteger, nullable=False),
    Column("effective_date", DateTime(timezone=True), nullable=False),
    Column("meta_data", JSON),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _created_at(),
    Column("parts", Integer),
    Column("part", Integer),
    _moment("inflight_expiry_date"),
    _moment("inflight_commit_date"),
    _moment("scheduled_for"),
    Column("subject", Text),
    Column("change", JSON),
    CheckConstraint("precise_amount > 0", name="transactions_amount"),
    Index("transactions_transaction_id_key", "transaction_id", unique=True),
    Index(
        "transactions_derived_reference_idx",
        "reference",
        postgresql_where=text("derived AND kind <> 'transaction'"),
    ),
    Index(
        "transactions_parent_transaction_idx",
        "parent_transaction",
        postgresql_where=text("parent_transaction IS NOT NULL AND kind <> 'transaction'"),
    ),
    Index(
        "transactions_subject_idx",
        "subject",
        "position",
        postgresql_where=text("subject IS NOT NULL"),
    ),
    Index("transactions_position_idx", "position"),
    Index(
        "transactions_unapplied_idx",
        "status",
        "position",
        postgresql_where=text("status <> 'APPLIED'"),
    ),
    Index(
        "transactions_dated_idx",
        "effective_date",
        postgresql_where=text("effective_date <> created_at"),
    ),
    *(
        Index(
            f"transactions_{side}{name}_idx",
            side,
            column,
            postgresql_where=text(f"effective_date {when} created_at"),
        )
        for side in ("source", "destination")
        for name, column, when in (
            ("", "position", "="),
            ("_dated", "effective_date", "<>"),
            ("_dated_position", "position", "<>"),
        )
    ),
)
"""The journal: append-only, numbered 1..n and chained by hash in each partition.

parts: of a request that several rows carry out, how many; it moves no money itself. part: of such
a row, its number. subject, change: of a creation or a change, what it is about and what it set."""

taken_references = Table(
    "taken_references",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("owner", Uuid),
)
"""Which references are taken, and by what: the one place that says so. A row is never changed.

The journal, schedules and rejected requests take theirs here in their own unit of work, so that its
only index has the last word between them. owner: the id of a transaction or a bulk; null when a
request was rejected whose id is none."""

holds = Table(
    "holds",
    metadata,
    Column("transaction_id", Uuid, primary_key=True),
    Column("source", Uuid, nullable=False),
    Column("destination", Uuid, nullable=False),
    Column("currency", Text, nullable=False),
    Column("precision", Numeric(31, 0), nullable=False),
    Column("amount", Numeric(FIGURE_COLUMN_DIGITS, 0), nullable=False),
    _figure("committed"),
    _figure("voided"),
    Column("commits", Integer, nullable=False, server_default="0"),
    Column("leg_of", Uuid),
    Column("bulk", Uuid),
    _moment("inflight_expiry_date"),
    _moment("inflight_commit_date"),
    CheckConstraint(
        "amount > 0 AND committed >= 0 AND voided >= 0 AND amount >= (committed + voided)",
        name="holds_amounts",
    ),
    Index("holds_leg_of_idx", "leg_of", postgresql_where=text("leg_of IS NOT NULL")),
    Index("holds_bulk_idx", "bulk", postgresql_where=text("bulk IS NOT NULL")),
    Index(
        "holds_due_idx",
        text("(LEAST(inflight_expiry_date, inflight_commit_date))"),
        postgresql_where=text(
            "amount > (committed + voided) AND "
            "LEAST(inflight_expiry_date, inflight_commit_date) IS NOT NULL"
        ),
    ),
    postgresql_with={"fillfactor": "70"},
)
"""The state of each hold, derived from the journal: amount = committed + voided + open.

leg_of: the request of which it is a leg. bulk: the bulk of which it, or its request, is one."""

schedules = Table(
    "schedules",
    metadata,
    Column("transaction_id", Uuid, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("scheduled_for", DateTime(timezone=True), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("flags", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _created_at(),
    Index("schedules_due_idx", "scheduled_for", "position"),
)
"""Transactions that were accepted for a later time and are not due, nor cancelled, yet."""

identities = Table(
    "identities",
    metadata,
    Column("identity_id", Uuid, primary_key=True),
    *(Column(name, Text) for name in IDENTITY_FIELDS),
    Column("meta_data", JSON),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("position", BigInteger, nullable=False),
    _created_at(),
)
"""Persons and organisations that own balances."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("api_key_id", Uuid, primary_key=True),
    Column("prefix", Text, nullable=False, unique=True),
    Column("hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Index("api_keys_owner", "owner"),
)
"""Keys of the HTTP API. prefix: how each begins. hash: SHA-256 of the whole."""

accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
    Column("bank_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("balance_id", Uuid, nullable=False),
    Column("ledger_id", Text, nullable=False),
    Column("identity_id", Uuid),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("meta_data", JSON),
    Index("accounts_balance_id_idx", "balance_id"),
    Index("accounts_created_at_idx", "created_at"),
)
"""Accounts at banks, each with the balance that it stands for. Written by the registrar."""

transaction_metadata = Table(
    "transaction_metadata",
    metadata,
    Column("transaction_id", Uuid, primary_key=True),
    Column("meta_data", JSON, nullable=False),
)
"""What was merged onto a transaction after it was recorded: its row never changes."""

snapshots = Table(
    "snapshots",
    metadata,
    Column("moment", DateTime(timezone=True), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("balances", BigInteger, nullable=False),
    Column("taken_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
"""When figures were kept. moment: up to which effective date they count. position: everything
that was accepted before it had been applied."""

balance_snapshots = Table(
    "balance_snapshots",
    metadata,
    Column("balance_id", Uuid, primary_key=True),
    Column("moment", DateTime(timezone=True), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("credit_balance", Numeric(FIGURE_COLUMN_DIGITS, 0), nullable=False),
    Column("debit_balance", Numeric(FIGURE_COLUMN_DIGITS, 0), nullable=False),
)
"""The figures of a balance at a snapshot, for those that changed since their last one."""

deferred_entries = Table(
    "deferred_entries",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("may_credit", ARRAY(Text), nullable=False),
    Column("flags", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Entries behind the cursor whose rejection waits for the past of other partitions."""

rejected_requests = Table(
    "rejected_requests",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("request_id", Text, nullable=False),
    Column("reference", Text),
    Column("uses_reference", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text),
    Column("body", LargeBinary, nullable=False),
    Column("traceback", Text),
    _created_at(),
    Column("resolved", Text),
    Column("resolved_by", Text),
    Column("resolved_why", Text),
    _moment("resolved_at"),
    Index("rejected_requests_reference_idx", "reference", postgresql_where=text("uses_reference")),
    Index("rejected_requests_request_id_idx", "request_id"),
    Index(
        "rejected_requests_quarantined_idx",
        "position",
        postgresql_where=text("reason = 'quarantined'"),
    ),
)
"""Refused requests with their raw bytes, where the journal cannot show both sides.

uses_reference: whether it has taken its reference; one that is tried again keeps it for its retry.
resolved: of one that was quarantined, whether it was retried or discarded; by whom, why and
when."""

REGISTRY_TABLES = (api_keys, accounts)
"""What is no part of the ledger, and can't be proved by its journal."""
