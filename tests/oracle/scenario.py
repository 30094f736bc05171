"""Scenarios as text: one request a line, and its expected outcome.

::

    ledger L                                    => APPLIED
    balance A USD                               => APPLIED
    in: @World > A 10.00 USD@100 overdraft      => APPLIED
    out: A > @Shop 250m USD@100 hold            => INFLIGHT
    commit out 1.00                             => APPLIED
    void out ref=v1                             => VOID
    figures A 1000 100 0 0 3

Names stand for ids. An amount is in major units, ``250m`` in minor units; ``@100`` is the
precision. Words: ``overdraft``, ``limit=5``, ``hold``, ``key=K``, ``id=NAME``, ``note=TEXT``
(description), ``ref=R`` (of a commit or a void). Outcomes: a status, for a refusal with its
reason, for a repetition after ``same``; ``refused CODE`` when it never reaches the log.
``figures``: credit, debit, inflight credit, inflight debit, version. ``#`` begins a comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from daybook.ledger.balance import internal_balance_id
from daybook.requests import ordering_key, slot_of

_NAMES = UUID("00000000-0000-4000-8000-000000000001")
FIRST_POSITION = 1_700_000_000_000 << 20


@dataclass(frozen=True)
class Step:
    """One line: a request with its id and expected outcome, or the figures of a balance."""

    line: str
    request: dict[str, Any] | None = None
    request_id: str = ""
    expected: str = ""
    balance: str = ""
    figures: tuple[int, ...] = ()


def id_of(prefix: str, name: str) -> str:
    """The id that a name stands for, as the world outside would have minted it."""
    return f"{prefix}_{uuid5(_NAMES, name)}"


def transaction_id_of(name: str, slot: int) -> str:
    """The id of a transaction that a name stands for; it carries the slot."""
    text = str(uuid5(_NAMES, name))
    return f"txn_{text[:14]}7{slot:03x}{text[18:]}"


class Parser:
    """Reads the lines of one scenario."""

    def __init__(self) -> None:
        self.transaction_ids: dict[str, str] = {}
        self.actions = 0

    def steps(self, text: str) -> list[Step]:
        """The steps of a scenario."""
        lines = (line.split(" #")[0].strip() for line in text.splitlines())
        return [self._step(line) for line in lines if line and not line.startswith("#")]

    def _step(self, line: str) -> Step:
        asked, _, expected = line.partition("=>")
        words = asked.split()
        if words[0] == "figures":
            return Step(line, balance=words[1], figures=tuple(map(int, words[2:])))
        if words[0] in ("commit", "void"):
            return self._action(line, words, expected.strip())
        if words[0] == "ledger":
            request: dict[str, Any] = {"kind": "ledger", "name": words[1], **_options(words[2:])}
            return Step(line, request, id_of("ldg", words[1]), expected.strip())
        if words[0] == "balance":
            return self._balance(line, words, expected.strip())
        return self._transaction(line, words, expected.strip())

    def _balance(self, line: str, words: list[str], expected: str) -> Step:
        _, name, currency, *rest = words
        options = _options(rest)
        ledger = options.pop("ledger", None)
        request = {
            "kind": "balance",
            "currency": currency,
            "ledger_id": id_of("ldg", ledger) if ledger else "general_ledger_id",
            **options,
        }
        indicator = options.get("indicator")
        balance_id = internal_balance_id(indicator, currency) if indicator else id_of("bln", name)
        return Step(line, request, balance_id, expected)

    def _transaction(self, line: str, words: list[str], expected: str) -> Step:
        reference, source, _, destination, amount, currency, *rest = words
        currency, _, precision = currency.partition("@")
        options = _options(rest)
        named = options.pop("id", reference.rstrip(":"))
        request = {
            "kind": "transaction",
            "reference": reference.rstrip(":"),
            "source": _side(source),
            "destination": _side(destination),
            "currency": currency,
            "precision": int(precision or 1),
            **_amount(amount),
            **options,
        }
        key = options.get("ordering_key") or ordering_key(request["source"], request["destination"])
        minted = transaction_id_of(named, slot_of(key))
        known = self.transaction_ids.setdefault(named, minted)
        return Step(line, request, known if f"id={named}" in rest else minted, expected)

    def _action(self, line: str, words: list[str], expected: str) -> Step:
        kind, hold, *rest = words
        hold_id = self.transaction_ids.get(hold) or transaction_id_of(hold, 7)
        amount = _amount(rest.pop(0)) if rest and "=" not in rest[0] else {}
        options = _options(rest)
        self.actions += 1
        name = options.pop("id", f"{kind} {self.actions}")
        request = {"kind": kind, "transaction_id": hold_id, **amount, **options}
        slot = int(hold_id[19:22], 16)
        request_id = self.transaction_ids.setdefault(name, transaction_id_of(name, slot))
        return Step(line, request, request_id, expected)


def _side(name: str) -> str:
    return name if name.startswith("@") else id_of("bln", name)


def _amount(text: str) -> dict[str, Any]:
    if text.endswith("m"):
        return {"precise_amount": int(text[:-1])}
    return {"amount": text}


_FLAGS = {"overdraft": "allow_overdraft", "hold": "inflight"}
_OPTIONS = {"limit": "overdraft_limit", "key": "ordering_key", "note": "description"}
_OPTIONS |= {"ref": "reference", "ledger": "ledger", "id": "id", "indicator": "indicator"}


def _options(words: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in _FLAGS:
            options[_FLAGS[name]] = True
        elif name == "meta":
            options["meta_data"] = {"note": value}
        else:
            options[_OPTIONS[name]] = value
    return options
