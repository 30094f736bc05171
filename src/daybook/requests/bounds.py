"""Every bound of a request, and the ids, slots and patterns that its fields must fit."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from daybook.ledger.balance import GENERAL_LEDGER_ID

BODY_VERSION = 1

REFERENCE_LENGTH_MAX = 255

NAME_LENGTH_MAX = 255

CURRENCY_LENGTH_MAX = 64

INDICATOR_LENGTH_MAX = 255

ORDERING_KEY_LENGTH_MAX = 255

DESCRIPTION_LENGTH_MAX = 2_000

META_DATA_BYTES_MAX = 16 * 1024

META_DATA_DEPTH_MAX = 32

NUMBER_DIGITS_MAX = 1_000
"""Most digits of a number in meta_data, written out in full."""

LEGS_MAX = 1_000
"""Most sources, or destinations, of one transaction."""

BULK_ITEMS_MAX = 10_000
"""Most transactions of one bulk."""

IDENTITY_FIELD_LENGTH_MAX = 255

MADE_BY_LENGTH_MAX = 255

REQUEST_ID_LENGTH_MAX = 255

BODY_BYTES_MAX = 64 * 1024
"""Longest body of a request, and of each transaction of a bulk, its legs not counted."""

LEG_BYTES_MAX = 192
"""What a body may be longer for each leg beyond the first."""

BULK_BODY_BYTES_MAX = 16 * 1024 * 1024

FUTURE_MAX = timedelta(days=1)
"""How far in the future an effective date may lie (ledger semantics, section 10)."""

JSON_AMOUNT_DIGITS_MAX = 15
"""Significant digits of an ``amount`` that came as a JSON number (ledger semantics, section 3)."""

_HEX3, _UUID_BEGINNING, _UUID_END = "[0-9a-f]{3}", "[0-9a-f]{8}-[0-9a-f]{4}-", "-[0-9a-f]{12}"

_UUID = f"{_UUID_BEGINNING}[0-9a-f]{{4}}-[0-9a-f]{{4}}{_UUID_END}"

_BULK_UUID = f"{_UUID_BEGINNING}8{_HEX3}-[89]{_HEX3}{_UUID_END}"

NEW_TRANSACTION_ID = re.compile(f"txn_(?!{_UUID_BEGINNING}8){_UUID}\\Z")
"""What a transaction may be called by a caller: UUIDs of version 8 are the ledger's own."""

TRANSACTION_ID = re.compile(f"txn_(?!{_BULK_UUID}){_UUID}\\Z")

BULK_ID = re.compile(f"bulk_{_BULK_UUID}\\Z")

GROUP_ID = re.compile(f"(txn_(?!{_BULK_UUID}){_UUID}|bulk_{_BULK_UUID})\\Z")
"""A transaction or a bulk."""

ANY_ID = re.compile(f"[a-z]+_{_UUID}\\Z")

BALANCE_ID = re.compile(f"bln_{_UUID}\\Z")

BALANCE_NAME_PATTERN = rf"^(bln_{_UUID}|@[^\s\x00-\x1f\x7f]{{1,{INDICATOR_LENGTH_MAX - 1}}})$"
"""A balance id or an indicator, as the core validator has it: ``\\s`` lacks four blanks there.

What is beyond ASCII is judged by ``naming``."""

NAMING_PATTERN = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
"""A text that names something, as far as it is ASCII; what is beyond is judged by ``naming``."""

LEDGER_ID = re.compile(f"(ldg_{_UUID}|{GENERAL_LEDGER_ID})\\Z")

IDENTITY_ID = re.compile(f"idt_{_UUID}\\Z")

DIGITS = re.compile(r"-?[0-9]+\Z")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
