"""A ledger with some of everything: every kind of record, in every state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.harness import Installation
from tests.integration.posting import FIRST_MS, WORLD, Posting, divided, move

from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Commit,
    Deadline,
    NewLedger,
    Refund,
    Transaction,
    Void,
)
from daybook.requests import Decoded, TransactionRequest, decode, mint_bulk_id, mint_id, validate
from daybook.store.proof.verify import VerifyReport, check_all
from daybook.store.read.snapshots import _keep_all  # the log's clock is not that of these records

HOUR_MICROS = 3_600_000_000
LATER_MICROS = (FIRST_MS + 86_400_000) * 1000
SOON_MICROS = (FIRST_MS + 1) * 1000


@dataclass
class Whole:
    """Ids of what was made."""

    ledger: str
    owner: str
    balances: list[str]
    ids: dict[str, str]


def bare(whole: Whole) -> dict[str, str]:
    """Every id as it is stored."""
    return {
        **{name: value[-36:] for name, value in whole.ids.items()},
        **{f"balance_{number}": value[4:] for number, value in enumerate(whole.balances)},
        "owner": whole.owner[4:],
        "ledger": whole.ledger,
    }


def fill_whole(installation: Installation) -> Whole:
    """Post some of everything into partition 0; leaves a snapshot in the middle."""
    posting = Posting(installation)
    ledger = posting.post(NewLedger(mint_id("ldg"), 'Customers "A" \\ ünï', '{"b":1}'))
    owner = posting.identity('{"since":2020}', first_name="Ada", city="Prag \t x")
    names = [
        posting.balance(identity_id=owner, meta_data='{"a":1.50,"z":"last"}'),
        posting.balance(meta_data='{"external_id":"A-17"}'),
        posting.balance(),
        posting.balance(indicator=None),
    ]
    whole = Whole(ledger.transaction_id, owner, names, {})
    _post_money(posting, whole)
    take_snapshot(installation, posting)
    _post_groups(posting, whole)
    take_snapshot(installation, posting)
    _post_facts(posting, whole)
    _post_dates(posting, whole)
    return whole


def posted(posting: Posting, whole: Whole, name: str, *given: Any, **more: Any) -> str:
    """Post one instruction; its outcome's id under ``name``."""
    outcome = posting.post(*given, **more)
    whole.ids[name] = outcome.transaction_id
    return outcome.transaction_id


def _post_money(posting: Posting, whole: Whole) -> None:
    first, second, third, _ = whole.balances
    for number, balance in enumerate(whole.balances):
        posted(posting, whole, f"deposit-{number}", move(f"deposit-{number}", balance, 10_000))
    dated = move("dated", first, 5, effective_micros=SOON_MICROS - 40 * 24 * HOUR_MICROS)
    posted(posting, whole, "dated", dated._replace(description="tab\tand \\", meta_data='{"n":1}'))
    hold = posted(posting, whole, "hold", held("hold", first, second, 500))
    part = posted(posting, whole, "part", Commit(hold, "part", 200))
    early = SOON_MICROS - 20 * 24 * HOUR_MICROS
    posting.post(Commit(hold, None, 100, effective_micros=SOON_MICROS - 30 * 24 * HOUR_MICROS))
    broken = '{"why":"broken"}'
    posting.post(Refund(part, "refund-of-part", meta_data=broken, effective_micros=early))
    gone = posted(posting, whole, "gone", held("gone", second, third, 70))
    posting.post(Void(gone, effective_micros=early))
    posting.post(Refund(whole.ids["deposit-3"]))
    posting.post(spend("too-much", third, first, 10**9))
    posting.post(Commit(hold, "too-much-again", 10**9))


def _post_groups(posting: Posting, whole: Whole) -> None:
    first, second, third, _ = whole.balances
    legs = posted(posting, whole, "legs", divided("legs", {first: 30, second: 20, third: 50}))
    posted(posting, whole, "refund-of-legs", Refund(legs, "refund-of-legs"))
    held_legs = divided("held-legs", {first: 30, second: 20}, inflight=True)
    posted(posting, whole, "held-legs", held_legs)
    posted(posting, whole, "commit-of-legs", Commit(whole.ids["held-legs"], "commit-of-legs"))
    posted(posting, whole, "open-legs", divided("open-legs", {first: 3, second: 2}, inflight=True))
    items = (
        move("item-1", first, 11),
        spend("item-2", second, third, 10**9),
        divided("item-3", {first: 1, second: 2}),
        held("item-4", first, third, 9),
    )
    bulk = posted(posting, whole, "bulk", Bulk("bulk", items, False), mint_bulk_id(0))
    assert bulk.startswith("bulk_")
    refused = (*items[:2], move("item-5", third, 1))
    renamed = tuple(item._replace(reference=f"x{item.reference}") for item in refused)
    posted(posting, whole, "refused-bulk", Bulk("refused-bulk", renamed, True), mint_bulk_id(0))
    bulk_of_holds = (held("h1", first, second, 4), divided("h2", {third: 6}, inflight=True))
    early = SOON_MICROS - 10 * 24 * HOUR_MICROS
    atomic = Bulk("atomic", bulk_of_holds, True, "words", '{"m":1}', early)
    posted(posting, whole, "atomic", atomic, mint_bulk_id(0))
    posted(posting, whole, "void-of-bulk", Void(whole.ids["atomic"]))


def _post_facts(posting: Posting, whole: Whole) -> None:
    first, second, third, _ = whole.balances
    posting.change(whole.ledger, fields='{"name":"Clients"}', meta_data='{"a":"ä\\n","b":2.0}')
    posting.change("general_ledger_id", meta_data='{"kept":true}')
    posting.change(first, meta_data='{"b":{"x":[1]},"a":2}', made_by="ada")
    posting.change(second, fields=json.dumps({"identity_id": whole.owner}), reference="own")
    posting.change(WORLD, meta_data='{"note":"outside"}')
    posting.change(whole.owner, fields='{"city":"Brno","gender":"f"}', meta_data='{"since":2021}')
    posting.change(whole.ids["deposit-0"], meta_data='{"checked":false}')
    posting.change(whole.ids["deposit-0"], meta_data='{"by":"bob","checked":true}')
    posting.change(whole.ids["bulk"], meta_data='{"batch":7}')
    posting.change(third, fields=json.dumps({"identity_id": mint_id("idt")}))


def _post_dates(posting: Posting, whole: Whole) -> None:
    first, second, third, _ = whole.balances
    later = {"source": "@World", "currency": "USD", "amount": 5, "allow_overdraft": True}
    later["precision"] = 100
    later["scheduled_for"] = datetime.fromtimestamp(LATER_MICROS / 1_000_000, UTC).isoformat()
    ask(posting, whole, reference="later", destination=first, **later)
    ask(posting, whole, reference="never", destination=first, **later)
    several = [{"identifier": name, "distribution": "50%"} for name in (first, second)]
    ask(posting, whole, reference="legs-later", destinations=several, **later)
    posting.post(Cancel(whole.ids["never"]))
    ends: dict[str, dict[str, Any]] = {
        "expired": {"expires_micros": SOON_MICROS},
        "committed": {"commits_micros": SOON_MICROS},
        "waiting": {"expires_micros": LATER_MICROS, "commits_micros": LATER_MICROS + 1},
    }
    for name, dates in ends.items():
        posted(posting, whole, name, held(name, second, third, 12)._replace(**dates))
        posting.post(Deadline(whole.ids[name]))


def ask(posting: Posting, whole: Whole, **fields: Any) -> None:
    """Post a transaction by its request, for the body of a schedule is read again."""
    request = validate(TransactionRequest, fields)
    body, request_id = request.body(), mint_id("txn", request.slot)
    decoded = decode(body, request_id, FIRST_MS)
    assert isinstance(decoded, Decoded), decoded
    posted(posting, whole, fields["reference"], decoded.instruction, request_id, json.loads(body))


def spend(reference: str, source: str, destination: str, amount: int) -> Transaction:
    """A transaction that needs funds."""
    return Transaction(reference, source, destination, None, None, "USD", amount, 100)


def held(reference: str, source: str, destination: str, amount: int) -> Transaction:
    """A hold."""
    return spend(reference, source, destination, amount)._replace(inflight=True)


def tamper(installation: Installation, *statements: str) -> VerifyReport:
    """Change the tables as somebody who may do everything, and check; then take it back.

    So that one ledger serves many cases.
    """
    with installation.owner.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE transactions DISABLE TRIGGER ALL")
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount != 0, statement
        return check_all(connection)


def take_snapshot(installation: Installation, posting: Posting) -> None:
    """Keep the figures as they are now, by the time of what was posted last."""
    ((position,),) = installation.rows("SELECT max(position) FROM transactions")
    position = ((position >> POSITION_COUNTER_BITS) + 1) << POSITION_COUNTER_BITS
    moment = datetime.fromtimestamp((position >> POSITION_COUNTER_BITS) / 1000, UTC)
    with installation.engine.begin() as connection:
        kept = _keep_all(connection, moment, position, alone=False)
    installation.rows(
        "INSERT INTO snapshots (moment, position, balances) VALUES (%s, %s, %s)",
        moment,
        position,
        kept,
    )
