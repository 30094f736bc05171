"""Keys of the HTTP API: who has which, until when, and what each may do.

A key is shown once, when it is made. What is kept of it is its beginning, by which it is found, and
its SHA-256: it has 256 bits of chance, so no slow hash would make it safer.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from daybook.errors import FieldError, NotFound
from daybook.ledger.rejection import Reason
from daybook.registry.scopes import scope_fault
from daybook.requests.bounds import NAME_LENGTH_MAX
from daybook.requests.fields import is_clean
from daybook.requests.models import malformed
from daybook.store.schema import api_keys

ID_PREFIX = "api_key_"
_MARK = "dbk_"
"""What every key begins with, so that a search for lost secrets finds it."""
_PREFIX_BYTES = 9
_SECRET_BYTES = 32
_PREFIX_LENGTH = 12
"""Characters of ``_PREFIX_BYTES``."""
_FORM = re.compile(f"{_MARK}[A-Za-z0-9_-]{{55}}")
"""Its mark, and the characters of both."""

SCOPES_MAX = 50
KEYS_OF_AN_OWNER_MAX = 1_000
USE_NOTED_SECONDS = 60
"""A key that is used all the time is noted as used so often: not with every request."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without its text. scopes: see ``scopes``."""

    id: str
    name: str
    owner: str
    scopes: tuple[str, ...]
    expires_at: datetime
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at this moment."""
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made. expires_at: None where nothing was said, which is an error."""

    name: str
    owner: str
    scopes: tuple[str, ...]
    expires_at: datetime | None

    def errors(self, now: datetime, latest: datetime | None = None) -> list[FieldError]:
        """Everything that is wrong with it. latest: when the key ends that makes it."""
        wrong = [*_name_faults("name", self.name), *_name_faults("owner", self.owner)]
        wrong += _scope_faults(self.scopes)
        if self.expires_at is None:
            wrong.append(("expires_at", "is required: a moment such as 2027-01-31T00:00:00Z"))
        elif self.expires_at <= now:
            wrong.append(("expires_at", "must lie in the future"))
        elif latest is not None and self.expires_at > latest:
            wrong.append(("expires_at", f"lies behind {latest}, when the key ends that makes it"))
        return [FieldError(field, Reason.MALFORMED, message) for field, message in wrong]


def create_key(connection: Connection, wanted: NewKey, now: datetime) -> tuple[ApiKey, str]:
    """A new key, and its text, which is not kept. wanted: without errors.

    Raises MalformedRequest when its owner has too many.
    """
    columns = api_keys.c
    live = (columns.owner == wanted.owner, columns.revoked_at.is_(None), columns.expires_at > now)
    count = connection.execute(select(func.count()).where(*live)).scalar_one()
    if count >= KEYS_OF_AN_OWNER_MAX:
        message = f"has {KEYS_OF_AN_OWNER_MAX:,} keys; revoke some"
        raise malformed([FieldError("owner", Reason.MALFORMED, message)])
    prefix = secrets.token_urlsafe(_PREFIX_BYTES)
    text = f"{_MARK}{prefix}{secrets.token_urlsafe(_SECRET_BYTES)}"
    values = {
        "api_key_id": uuid4(),
        "prefix": prefix,
        "hash": _hash(text),
        "name": wanted.name,
        "owner": wanted.owner,
        "scopes": list(dict.fromkeys(wanted.scopes)),
        "expires_at": wanted.expires_at,
        "created_at": now,
    }
    row = connection.execute(insert(api_keys).values(values).returning(*api_keys.c)).mappings()
    return _key(row.one()), text


def has_form(text: str) -> bool:
    """Whether a text may be a key."""
    return _FORM.fullmatch(text) is not None


def find_key(connection: Connection, text: str) -> ApiKey | None:
    """The key with this text, which has the form of one, be it valid or not."""
    prefix = text.removeprefix(_MARK)[:_PREFIX_LENGTH]
    wanted = select(api_keys).where(api_keys.c.prefix == prefix)
    row = connection.execute(wanted).mappings().one_or_none()
    if row is None or not hmac.compare_digest(row["hash"], _hash(text)):
        return None
    return _key(row)


def find_key_by_id(connection: Connection, key_id: str) -> ApiKey | None:
    """The key with this id, be it valid or not."""
    wanted = select(api_keys).where(api_keys.c.api_key_id == _number(key_id))
    row = connection.execute(wanted).mappings().one_or_none()
    return None if row is None else _key(row)


def list_keys(connection: Connection, owner: str) -> list[ApiKey]:
    """The newest keys of an owner, KEYS_OF_AN_OWNER_MAX at most, the newest first."""
    newest = (api_keys.c.created_at.desc(), api_keys.c.api_key_id)
    wanted = select(api_keys).where(api_keys.c.owner == owner).order_by(*newest)
    wanted = wanted.limit(KEYS_OF_AN_OWNER_MAX)
    return [_key(row) for row in connection.execute(wanted).mappings()]


def revoke_key(connection: Connection, key_id: str, owner: str, now: datetime) -> None:
    """Make a key of an owner open nothing from now on; again: nothing. Raises NotFound."""
    number = _number(key_id)
    revoked = func.coalesce(api_keys.c.revoked_at, now)
    its = (api_keys.c.api_key_id == number, api_keys.c.owner == owner)
    if connection.execute(update(api_keys).where(*its).values(revoked_at=revoked)).rowcount == 0:
        raise NotFound(f"there is no API key {key_id}")


def note_use(connection: Connection, key: ApiKey, now: datetime) -> None:
    """Keep when a key was last used. Needed only where ``is_use_noted`` is false."""
    its = api_keys.c.api_key_id == _number(key.id)
    connection.execute(update(api_keys).where(its).values(last_used_at=now))


def is_use_noted(key: ApiKey, now: datetime) -> bool:
    """Whether it is known well enough when the key was last used."""
    last = key.last_used_at
    return last is not None and now - last < timedelta(seconds=USE_NOTED_SECONDS)


def _name_faults(field: str, text: str) -> Iterator[tuple[str, str]]:
    if not text.strip():
        yield field, "cannot be blank"
    elif len(text) > NAME_LENGTH_MAX:
        yield field, f"is longer than {NAME_LENGTH_MAX} characters"
    elif not is_clean(text):
        yield field, "contains a NUL character or a lone surrogate; remove it"


def _scope_faults(scopes: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not scopes:
        yield "scopes", "cannot be empty: such a key would open nothing"
    if len(scopes) > SCOPES_MAX:
        yield "scopes", f"has more than {SCOPES_MAX} items"
        return
    for place, scope in enumerate(scopes):
        if fault := scope_fault(scope):
            yield f"scopes[{place}]", fault


def _key(row: RowMapping) -> ApiKey:
    fields: dict[str, Any] = {name: row[name] for name in ApiKey.__slots__ if name != "id"}
    fields["scopes"] = tuple(row["scopes"])
    return ApiKey(id=f"{ID_PREFIX}{row['api_key_id']}", **fields)


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _number(key_id: str) -> UUID | None:
    """What the database has of an id; None for what is none."""
    try:
        return UUID(key_id.removeprefix(ID_PREFIX))
    except ValueError:
        return None
