"""Scenarios as text: one request a line, and its expected outcome.

::

    ledger L                                    => APPLIED
    identity P first_name=Ann                   => APPLIED
    balance A USD owner=P                       => APPLIED
    in: @World > A 10.00 USD@100 overdraft      => APPLIED
    out: A > @Shop 250m USD@100 hold            => INFLIGHT
    commit out 1.00                             => APPLIED
    void out ref=v1                             => VOID
    refund in                                   => APPLIED
    figures A 1000 100 0 0 3
    s: A > @X=50%,@Y=1.00,@Z=100m,@W=left 5.00 USD@100 => APPLIED
    refund s.2                                  => APPLIED
    bulk b atomic                               => REJECTED insufficient_funds
    - i: A > @X 1 USD                           => REJECTED bulk_aborted
    - j: A > @X 99 USD                          => REJECTED insufficient_funds
    at 60
    change ledger L name=M meta=k:v by=ann      => APPLIED

Names stand for ids: ``s.2`` is the second leg of ``s``, ``i`` the item of the bulk. An amount is
in major units, ``250m`` in minor units; ``@100`` is the precision. Words: ``overdraft``,
``limit=5``, ``hold``, ``key=K``, ``id=NAME``, ``note=TEXT`` (description), ``ref=R`` (of what has
no name), ``rounding=half_up``, ``meta=KEY:VALUE`` (``meta=x`` is ``note:x``), ``date=``,
``expires=``, ``commits=``, ``scheduled=`` (seconds, as ``at``: the time of the following lines, 0
at first). ``due X`` sends the scheduled X again, as the sweeper does, ``deadline X`` what the
sweeper sends for a hold.
Outcomes: a status, for a rejection with its reason, for a repetition after ``same``; ``refused
CODE`` when it never reaches the log; of an item that leaves no record ``none``.
``figures``: credit, debit, inflight credit, inflight debit, version. ``known X WORD…``: fields
and meta_data of a thing, meta_data of a transaction. ``#`` begins a comment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from tests.oracle.ids import internal_balance_id, part_id, slot_of

_NAMES = UUID("00000000-0000-4000-8000-000000000001")
FIRST_MS = 1_700_000_000_000
FIRST_POSITION = FIRST_MS << 20


@dataclass
class Step:
    """One line: a request with its id and expected outcome, or how something stands.

    seconds: when, after the beginning. items: of a bulk, the ids and expected outcomes.
    """

    line: str
    request: dict[str, Any] | None = None
    request_id: str = ""
    expected: str = ""
    balance: str = ""
    figures: tuple[int, ...] = ()
    subject: str = ""
    known: dict[str, Any] = field(default_factory=dict)
    items: list[tuple[str, str]] = field(default_factory=list)
    seconds: int = 0


def id_of(prefix: str, name: str) -> str:
    """The id that a name stands for, as the world outside would have minted it."""
    return f"{prefix}_{uuid5(_NAMES, f'{prefix} {name}')}"


def transaction_id_of(name: str, slot: int) -> str:
    """The id of a transaction that a name stands for; it carries the slot."""
    text = str(uuid5(_NAMES, name))
    return f"txn_{text[:14]}7{slot:03x}{text[18:]}"


def bulk_id_of(name: str, slot: int) -> str:
    """The id of a bulk that a name stands for."""
    text = str(uuid5(_NAMES, f"bulk {name}"))
    return f"bulk_{text[:14]}8{slot:03x}-8{text[20:]}"


def slot_in(request_id: str) -> int:
    """The slot that the id of a transaction or of a bulk carries."""
    return int(request_id[-21:-18], 16)


def key_of_order(request: dict[str, Any]) -> str:
    """The ordering key of a transaction: its own, or its first application balance."""
    sides = []
    for side in ("source", "destination"):
        legs = request.get(f"{side}s") or [{"identifier": request.get(side)}]
        sides.append([leg["identifier"] for leg in legs])
    names = [*sides[0], *sides[1]]
    own: str | None = request.get("ordering_key")
    return own or next((name for name in names if not name.startswith("@")), names[0])


def moment(seconds: float) -> str:
    """A time so many seconds after the beginning, as text."""
    start = datetime.fromtimestamp(FIRST_MS / 1000, UTC)
    return (start + timedelta(seconds=seconds)).isoformat()


class Parser:
    """Reads the lines of one scenario."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.actions = 0
        self.seconds = 0

    def steps(self, text: str) -> list[Step]:
        """The steps of a scenario."""
        lines = (line.split(" #")[0].strip() for line in text.splitlines())
        steps: list[Step] = []
        for line in lines:
            if line.startswith("at "):
                self.seconds = int(line.split()[1])
            elif line.startswith("- "):
                self._item(steps[-1], line)
            elif line and not line.startswith("#"):
                steps.append(self._step(line))
                steps[-1].seconds = self.seconds
        for step in steps:
            if step.request and step.request["kind"] == "bulk":
                self._finish_bulk(step)
        return steps

    def _step(self, line: str) -> Step:
        asked, _, expected = line.partition("=>")
        words = asked.split()
        reader = getattr(self, f"_read_{words[0]}", self._read_transaction)
        step: Step = reader(words)
        step.line, step.expected = line, expected.strip()
        return step

    # things

    def _read_figures(self, words: list[str]) -> Step:
        return Step("", balance=words[1], figures=tuple(map(int, words[2:])))

    def _read_known(self, words: list[str]) -> Step:
        known = _options(words[2:]) if words[1] in self.ids else _options(words[3:])
        subject = self.ids[words[1]] if words[1] in self.ids else self._thing(words[1], words[2])
        known.setdefault("meta_data", {})
        return Step("", subject=subject, known=known)

    def _read_ledger(self, words: list[str]) -> Step:
        request = {"kind": "ledger", "name": words[1], **_options(words[2:])}
        return Step("", request, id_of("ldg", words[1]))

    def _read_identity(self, words: list[str]) -> Step:
        return Step("", {"kind": "identity", **_options(words[2:])}, id_of("idt", words[1]))

    def _read_balance(self, words: list[str]) -> Step:
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
        return Step("", request, balance_id)

    def _thing(self, kind: str, name: str) -> str:
        if kind in ("transaction", "bulk"):
            return self.id_named(name)
        if name == "general":
            return "general_ledger_id"
        if "/" in name:
            return internal_balance_id(*name.split("/"))
        return id_of({"ledger": "ldg", "balance": "bln", "identity": "idt"}[kind], name)

    def _read_change(self, words: list[str]) -> Step:
        _, kind, name, *rest = words
        subject = self._thing(kind, name)
        options = _options(rest)
        about = {"reference", "meta_data", "made_by", "id"}
        fields = {word: value for word, value in options.items() if word not in about}
        request: dict[str, Any] = {"kind": "change", "subject_id": subject}
        request |= {word: value for word, value in options.items() if word in about}
        if fields:
            request["fields"] = fields
        slot = slot_in(subject) if kind in ("transaction", "bulk") else slot_of(subject)
        return Step("", request, self._minted(request, "change", slot))

    # money

    def _read_transaction(self, words: list[str]) -> Step:
        name, request = _transaction(words)
        named = request.pop("id", name)
        minted = transaction_id_of(named, slot_of(key_of_order(request)))
        known = self.ids.setdefault(named, minted)
        self.requests.setdefault(name, request)
        return Step("", request, known if named != name else minted)

    def _read_bulk(self, words: list[str]) -> Step:
        request: dict[str, Any] = {"kind": "bulk", "transactions": []}
        for word in words[2:]:
            request |= {"atomic": True} if word == "atomic" else _options([word])
        named = request.pop("id", words[1])
        if request.get("reference") == "":
            del request["reference"]
        else:
            request.setdefault("reference", words[1])
        return Step("", request, named)

    def _item(self, bulk: Step, line: str) -> None:
        asked, _, expected = line[2:].partition("=>")
        name, request = _transaction(asked.split())
        del request["kind"]
        assert bulk.request is not None
        bulk.request["transactions"].append(request)
        bulk.items.append((name, expected.strip()))
        if len(bulk.items) == 1:  # its slot: the ids of all that follows depend on it
            slot = slot_of(bulk.request.get("ordering_key") or key_of_order(request))
            named, bulk.request_id = bulk.request_id, bulk_id_of(bulk.request_id, slot)
            self.ids.setdefault(named, bulk.request_id)
        self.ids.setdefault(name, part_id(bulk.request_id, len(bulk.items)))

    def _finish_bulk(self, step: Step) -> None:
        step.items = [
            (part_id(step.request_id, number), expected)
            for number, (_, expected) in enumerate(step.items, 1)
        ]

    # actions

    def _read_commit(self, words: list[str]) -> Step:
        return self._action(words)

    _read_void = _read_refund = _read_cancel = _read_commit

    def _action(self, words: list[str]) -> Step:
        kind, name, *rest = words
        named = self.id_named(name)
        amount = _amount(rest.pop(0)) if rest and "=" not in rest[0] else {}
        request = {"kind": kind, "transaction_id": named, **amount, **_options(rest)}
        return Step("", request, self._minted(request, kind, slot_in(named)))

    def _minted(self, request: dict[str, Any], kind: str, slot: int) -> str:
        self.actions += 1
        name = request.pop("id", f"{kind} {self.actions}")
        return self.ids.setdefault(name, transaction_id_of(name, slot))

    def _read_deadline(self, words: list[str]) -> Step:
        named = self.id_named(words[1])
        return Step("", {"kind": "deadline", "transaction_id": named}, part_id(named, "deadline"))

    def _read_due(self, words: list[str]) -> Step:
        return Step("", self.requests[words[1]], self.ids[words[1]])

    def id_named(self, name: str) -> str:
        """The id that a name stands for; ``s.2`` is a part, ``s.scheduled`` and the like too."""
        whole, dot, part = name.rpartition(".")
        if dot:
            return part_id(self.id_named(whole), int(part) if part.isdecimal() else part)
        return self.ids.get(name) or transaction_id_of(name, 7)


def _transaction(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The name of a transaction and its request."""
    name, source, _, destination, amount, currency, *rest = words
    currency, _, precision = currency.partition("@")
    request = {
        "kind": "transaction",
        "reference": name.rstrip(":"),
        **_side("source", source),
        **_side("destination", destination),
        "currency": currency,
        "precision": int(precision or 1),
        **_amount(amount),
        **_options(rest),
    }
    return name.rstrip(":"), request


def _side(side: str, text: str) -> dict[str, Any]:
    if "=" not in text:
        return {side: _name(text)}
    return {f"{side}s": [_leg(*part.split("=")) for part in text.split(",")]}


def _leg(name: str, share: str) -> dict[str, str]:
    if share.endswith("m"):
        return {"identifier": _name(name), "precise_distribution": share[:-1]}
    return {"identifier": _name(name), "distribution": share}


def _name(name: str) -> str:
    return name if name.startswith("@") else id_of("bln", name)


def _amount(text: str) -> dict[str, Any]:
    if text.endswith("m"):
        return {"precise_amount": int(text[:-1])}
    return {"amount": text}


_FLAGS = {"overdraft": "allow_overdraft", "hold": "inflight"}
_DATES = {
    "date": "effective_date",
    "expires": "inflight_expiry_date",
    "commits": "inflight_commit_date",
    "scheduled": "scheduled_for",
}
_OPTIONS = {
    "limit": "overdraft_limit",
    "key": "ordering_key",
    "note": "description",
    "ref": "reference",
    "by": "made_by",
}


def _options(words: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in _FLAGS:
            options[_FLAGS[name]] = True
        elif name in _DATES:
            options[_DATES[name]] = moment(float(value))
        elif name == "meta":
            key, colon, text = value.partition(":")
            options.setdefault("meta_data", {})
            options["meta_data"] |= {key: text} if colon else {"note": value}
        elif name == "owner":
            options["identity_id"] = id_of("idt", value)
        else:
            options[_OPTIONS.get(name, name)] = value
    return options
