"""What creations and changes have said: names, owners, fields and meta_data, from the journal.

The record of a creation says everything about a thing; a change sets fields of it and merges
meta_data by key; the last one counts. Some things have no record of their creation: the General
Ledger, and balances that were made on first use, of which all else is known.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from daybook.ledger.balance import GENERAL_LEDGER_ID
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.store.proof.comparing import Column, Comparison, column
from daybook.store.scan import request_id_sql

_UUID = "'_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"


def _uuid(shown: str) -> str:
    """The uuid in an id, or NULL, also of what was tampered with."""
    return f"CASE WHEN {shown} ~ {_UUID} THEN right({shown}, 36)::uuid END"


def _object(json: str) -> str:
    """A JSON object, or NULL, also of what was tampered with."""
    return f"CASE WHEN json_typeof({json}) = 'object' THEN {json} END"


def _told(kind: str, subjects: str, fields: tuple[str, ...] = ()) -> str:
    """What the journal tells about some subjects: a row for each, as ``journal``.

    kind: of the records of their creation. subjects: SQL: whose ids. fields: what can be set.
    """
    created_with = "change -> 'fields'" if kind == "identity" else "change"
    pivot = "".join(
        f", max(value) FILTER (WHERE key = '{name}') AS {name}, "
        f"bool_or(key = '{name}') AS sets_{name}"
        for name in fields
    )
    return f"""
WITH told AS (
    SELECT subject, kind, position, sequence, fingerprint,
        {_object("change -> 'meta_data'")} AS meta_data,
        CASE kind WHEN 'change' THEN {_object("change -> 'fields'")}
            ELSE {_object(created_with)} END AS fields
    FROM transactions
    WHERE {subjects} AND kind IN ('{kind}', 'change') AND status <> 'REJECTED'
), subjects AS (
    SELECT subject, bool_or(kind <> 'change') AS is_created, count(meta_data) > 0 AS is_merged,
        max(position) FILTER (WHERE kind <> 'change') AS position,
        (array_agg(fingerprint) FILTER (WHERE kind <> 'change'))[1] AS fingerprint
    FROM told GROUP BY subject
), keys AS (
    SELECT DISTINCT ON (subject, key) subject, key, value::text AS value
    FROM told, json_each(told.meta_data)
    ORDER BY subject, key, position DESC, sequence DESC
), merged AS (
    SELECT subject, '{{' || string_agg(to_json(key) || ':' || value, ',' ORDER BY key COLLATE "C")
        || '}}' AS meta_data
    FROM keys GROUP BY subject
), latest AS (
    SELECT DISTINCT ON (subject, key) subject, key, value
    FROM told, json_each_text(told.fields)
    ORDER BY subject, key, position DESC, sequence DESC
), fields AS (
    SELECT subject{pivot} FROM latest GROUP BY subject
), journal AS (
    SELECT * FROM subjects LEFT JOIN merged USING (subject) LEFT JOIN fields USING (subject)
)"""


def _said(name: str, on_first_use: str, value: str = "") -> str:
    """What the journal says of a field. on_first_use: SQL: what it was then.

    value: SQL, if it is not the text of the journal.
    """
    return (
        f"CASE WHEN journal.sets_{name} OR journal.is_created THEN {value or f'journal.{name}'} "
        f"ELSE {on_first_use} END"
    )


def _if_created(name: str, on_first_use: str = "NULL") -> Column:
    return column(name, f"CASE WHEN journal.is_created THEN journal.{name} ELSE {on_first_use} END")


def _made(position_on_first_use: str) -> tuple[Column, ...]:
    return (
        Column(
            "meta_data", "nullif(kept.meta_data::text, '{}')", "journal.meta_data", cast="::json"
        ),
        _if_created("fingerprint"),
        _if_created("position", position_on_first_use),
    )


_IS_KNOWN = "coalesce(journal.is_created, false)"
_NOT_CREATED = "the journal has no record of its creation"
_ABSENT = "the journal tells of it, but it does not exist"

LEDGERS = Comparison(
    "ledgers",
    "ledger_mismatch",
    "ledgers",
    _told(
        "ledger",
        f"(subject LIKE 'ldg%' OR subject = '{GENERAL_LEDGER_ID}')",
        ("name",),
    ),
    "coalesce(kept.ledger_id, journal.subject)",
    {"ledger_id": "journal.subject"},
    "kept.ledger_id = journal.subject",
    f"({_IS_KNOWN} OR kept.ledger_id = '{GENERAL_LEDGER_ID}')",
    (column("name", _said("name", "coalesce(journal.name, 'General Ledger')")), *_made("0")),
    _ABSENT,
    _NOT_CREATED,
    is_referenced=True,
)

IDENTITIES = Comparison(
    "identities",
    "identity_mismatch",
    "identities",
    _told("identity", "subject LIKE 'idt%'", IDENTITY_FIELDS),
    "coalesce('idt_' || kept.identity_id, journal.subject)",
    {"identity_id": _uuid("journal.subject")},
    "'idt_' || kept.identity_id = journal.subject",
    _IS_KNOWN,
    (*(column(name) for name in IDENTITY_FIELDS), *_made("0")),
    _ABSENT,
    _NOT_CREATED,
    is_referenced=True,
)

# A balance without a record of its creation was made by the first that named it. Two partitions may
# have come to it at the same time, so that need not be the oldest.
_BALANCES = (
    _told("balance", "subject LIKE 'bln%'", ("ledger_id", "currency", "indicator", "identity_id"))
    .removesuffix(")")
    .replace("), journal AS (", "), told_of AS (")
    + """), first_use AS (
    SELECT 'bln_' || made.balance_id AS subject,
        CASE WHEN bool_or(named.position = made.position) THEN made.position
            ELSE min(named.position) END AS first_position
    FROM transactions named, LATERAL (VALUES (source), (destination)) side (balance_id)
        JOIN balances made USING (balance_id)
    WHERE made.indicator IS NOT NULL
    GROUP BY made.balance_id
), journal AS (
    SELECT * FROM told_of FULL JOIN first_use USING (subject)
)"""
)

BALANCE_FACTS = Comparison(
    "owners",
    "balance_mismatch",
    "balances",
    _BALANCES,
    "coalesce('bln_' || kept.balance_id, journal.subject)",
    {"balance_id": _uuid("journal.subject")},
    "'bln_' || kept.balance_id = journal.subject",
    f"({_IS_KNOWN} OR journal.first_position IS NOT NULL)",
    (
        column("ledger_id", _said("ledger_id", f"'{GENERAL_LEDGER_ID}'")),
        column("currency", _said("currency", "kept.currency")),
        column("indicator", _said("indicator", "kept.indicator")),
        column("identity_id", _said("identity_id", "NULL", _uuid("journal.identity_id"))),
        *_made("journal.first_position"),
    ),
    _ABSENT,
    _NOT_CREATED,
)

TRANSACTION_METADATA = Comparison(
    "metadata",
    "metadata_mismatch",
    "transaction_metadata",
    _told(
        "none",
        "(subject LIKE 'txn%' OR subject LIKE 'bulk%') "
        "AND json_typeof(change -> 'meta_data') = 'object'",
    ),
    f"coalesce({request_id_sql('kept.transaction_id')}, journal.subject)",
    {"transaction_id": _uuid("journal.subject")},
    f"{request_id_sql('kept.transaction_id')} = journal.subject",
    "journal.subject IS NOT NULL",
    (
        Column(
            "meta_data",
            "kept.meta_data::text",
            "coalesce(journal.meta_data, '{}')",
            cast="::json",
        ),
    ),
    "was changed, but what was merged onto it is missing",
    "the journal has no record of such a change",
)

FACTS = (IDENTITIES, LEDGERS, BALANCE_FACTS, TRANSACTION_METADATA)
"""In the order in which one refers to the other."""
