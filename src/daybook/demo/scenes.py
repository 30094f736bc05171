"""The scenes: one request of every kind after the other, and what the ledger shows after each.

Ada and Ben spend euros in a shop. What must come of each request stands beside it, and its money
goes into the tally of plain sums; what is shown is read from the ledger.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from daybook.counting import counted
from daybook.demo.observer import Seen, preview_told
from daybook.demo.stage import PATIENCE_SECONDS_MAX, TAX, Stage, minor, moved
from daybook.demo.tally import EUR, id_of
from daybook.ledger.money import amount_text

DUE_SECONDS_MIN = 3
"""The dates that come within the demo lie at least so far ahead; farther where the scenes before
took long, so that all that is to be seen before them is seen in time on a slow machine, too."""
WORLD = id_of("@World", EUR)


class Scenes(Stage):
    """Plays the scenes."""

    def play(self) -> list[Seen]:
        """All scenes in order. Raises what the client and the store raise."""
        began = time.monotonic()
        self._open()
        spree = self._bulks()
        order = self._order()
        then, expected_then = self._sources()
        self._hold_with_legs()
        self._refunds(order, spree)
        self._dates(max(DUE_SECONDS_MIN, 2 * math.ceil(time.monotonic() - began)))
        self._history(then, expected_then)
        self._owners()
        return self._seen

    # What is asked

    def _open(self) -> None:
        asked = [
            self._client.create_identity(
                identity_id=self._owner, first_name="Ada", last_name="Byron"
            ),
            self._balance(self._ada, identity_id=self._owner),
            self._balance(self._ben),
            self._balance(self._shop),
        ]
        self._await(asked)
        told = self._observer.owner_told(self._owner, self._names)
        self._note("identity Ada Byron, with a balance", told, "owns Ada", records=4)

    def _bulks(self) -> str:
        """All or nothing, and each on its own; returns the id of the latter."""
        ada, ben, shop = self._ada, self._ben, self._shop
        self._ask(
            "bulk, atomic: 500 to Ada, 300 to Ben",
            self._client.bulk(
                [
                    self._pay("pay-1", "@World", ada, "500", allow_overdraft=True),
                    self._pay("pay-2", "@World", ben, "300", allow_overdraft=True),
                ],
                atomic=True,
            ),
            "APPLIED: 2 APPLIED",
            [(WORLD, ada, "500"), (WORLD, ben, "300")],
            records=3,
        )
        self._ask(
            "bulk, atomic: 100, 20, 900 too many",
            self._client.bulk(self._spree("all"), atomic=True),
            "REJECTED: 2 bulk_aborted, 1 insufficient_funds",
            records=4,
        )
        return self._ask(
            "bulk, each on its own: the same",
            self._client.bulk(self._spree("each")),
            "APPLIED: 2 APPLIED, 1 insufficient_funds",
            [(ada, shop, "100"), (ben, TAX, "20")],
            records=4,
        )

    def _order(self) -> str:
        """A dry run of a request with legs, and the request; returns its id."""
        order = self._pay(
            "order-1",
            self._ada,
            [("@Tax", "19%"), (self._ben, "5.00"), (self._shop, "left")],
            "99.99",
        )
        foretold = self._observer.dry_run.enqueue(order)
        told = preview_told(foretold)
        what = "dry run: 99.99 as 19%, 5.00, left"
        before = {one.balance_id: one.before.available for one in foretold.balances}
        after = {one.balance_id: one.after.available for one in foretold.balances}
        self._note(what, told, "would be APPLIED: 3 APPLIED", before)
        for move in (
            (self._ada, TAX, "18.99"),
            (self._ada, self._ben, "5.00"),
            (self._ada, self._shop, "76.00"),
        ):
            self._tally.move(*minor(move))
        self._note("  the balances that it foretells", told, "would be APPLIED: 3 APPLIED", after)
        return self._ask(
            "legs: the same for real", self._client.enqueue(order), "APPLIED: 3 APPLIED", records=4
        )

    def _sources(self) -> tuple[datetime, Mapping[str, int]]:
        """Several sources; returns when that was, and what each balance must be at that time."""
        order = self._ask(
            "sources: 90.00 as 33.33%, left",
            self._client.enqueue(
                self._pay("order-2", [(self._ada, "33.33%"), (self._ben, "left")], self._shop, "90")
            ),
            "APPLIED: 2 APPLIED",
            [(self._ada, self._shop, "29.99"), (self._ben, self._shop, "60.01")],
            records=3,
        )
        expected = {one: self._tally.available(one) for one in self._names}
        return self._observer.accepted_at(order), expected

    def _hold_with_legs(self) -> None:
        legs = [(self._shop, "50%"), ("@Tax", "left")]
        order = self._pay("order-3", self._ada, legs, "50", inflight=True)
        hold = self._client.enqueue(order)
        moves = [(self._ada, self._shop, "25"), (self._ada, TAX, "25")]
        for move in moves:
            self._tally.hold(*minor(move))
        self._ask("hold with legs: 50.00 as 50%, left", hold, "INFLIGHT: 2 INFLIGHT", records=3)
        commit = self._client.commit(hold.id)
        for move in moves:
            self._release(*move)
        self._ask("  committed", commit, "APPLIED: 2 APPLIED", moves, records=3)

    def _refunds(self, order: str, spree: str) -> None:
        """Of a plain transaction, twice; of a request with legs; of a bulk."""
        ada, ben, shop, refund = self._ada, self._ben, self._shop, self._client.refund
        paid = self._ask(
            "plain: Ben pays 12.34",
            self._client.enqueue(self._pay("tip-1", ben, shop, "12.34")),
            "APPLIED",
            [(ben, shop, "12.34")],
        )
        self._ask("  refunded", refund(paid), "APPLIED", [(shop, ben, "12.34")])
        self._ask("  refunded again", refund(paid), "REJECTED already_refunded")
        back = [(TAX, ada, "18.99"), (ben, ada, "5"), (shop, ada, "76")]
        self._ask("refund of the legs above", refund(order), "APPLIED: 3 APPLIED", back, records=4)
        back = [(shop, ada, "100"), (TAX, ben, "20")]
        what = "refund of the bulk, as it was applied"
        self._ask(what, refund(spree), "APPLIED: 2 APPLIED", back, records=3)

    def _dates(self, seconds: int) -> None:
        """Dates that come in some seconds, and one that is withdrawn before."""
        ada, ben, shop = self._ada, self._ben, self._shop
        now = datetime.fromtimestamp(self._log.now_ms() / 1000, UTC)
        due = now + timedelta(seconds=seconds)
        rent = self._pay("rent-1", ada, shop, "60", scheduled_for=due)
        rent_id = self._ask(f"scheduled in {seconds} s: Ada pays 60", self._send(rent), "SCHEDULED")
        later = self._pay("rent-2", ada, shop, "60", scheduled_for=now + timedelta(hours=1))
        scheduled = self._send(later)
        self._await([scheduled])
        self._await([self._client.cancel(scheduled.id)])
        told = self._observer.told(scheduled.id)
        self._note("scheduled in an hour, then cancelled", told, "REJECTED cancelled", records=3)
        expiring = self._send(
            self._pay("hold-1", ada, shop, "40", inflight=True, inflight_expiry_date=due)
        )
        self._await([self._client.commit(expiring.id, amount=Decimal(15))])
        self._tally.move(*minor((ada, shop, "15")))
        self._tally.hold(*minor((ada, shop, "25")))
        what = f"hold of 40, expires in {seconds} s; 15 taken"
        self._ask(what, expiring, "INFLIGHT: commit 15", records=2)
        committing = self._send(
            self._pay("hold-2", ben, shop, "10", inflight=True, inflight_commit_date=due)
        )
        self._tally.hold(*minor((ben, shop, "10")))
        self._ask(f"hold of 10, to be committed in {seconds} s", committing, "INFLIGHT")
        self._await_due(rent_id, expiring.id, committing.id)

    def _await_due(self, rent: str, expiring: str, committing: str) -> None:
        told = self._observer.told_when_due((rent, expiring, committing), PATIENCE_SECONDS_MAX)
        self._release(self._ada, self._shop, "25")
        self._release(self._ben, self._shop, "10")
        self._tally.move(*minor((self._ada, self._shop, "60")))
        self._tally.move(*minor((self._ben, self._shop, "10")))
        due = (
            ("some seconds later: the scheduled", "APPLIED"),
            ("  the hold that expires", "INFLIGHT: commit 15, void 25"),
            ("  the hold to be committed", "INFLIGHT: commit 10"),
        )
        for (what, promised), shown in zip(due, told, strict=True):
            self._note(what, shown, promised, records=1)

    def _history(self, then: datetime, expected_then: Mapping[str, int]) -> None:
        """A snapshot, a transaction dated back behind it, and the figures of the past."""
        taken = self._observer.snapshot(self._log)
        kept = 0 if taken is None else taken.balances
        at = then if taken is None else taken.moment
        expected_at = {one: self._tally.available(one) for one in self._names}
        scene = f"snapshot of {counted(kept, 'balance')}"
        self._note(scene, "taken" if kept else "not taken", "taken")
        what = "plain, dated back: Ada pays 1.11"
        back = self._pay(
            "back-1", self._ada, self._shop, "1.11", effective_date=then - timedelta(seconds=1)
        )
        move = (self._ada, self._shop, "1.11")
        self._ask(what, self._send(back), "APPLIED", [move])
        for what, moment, expected in (
            ("balances when the sources had paid", then, expected_then),
            ("balances at the snapshot", at, expected_at),
        ):
            figures, told = self._observer.balances_at(moment, self._names)
            self._note(what, told, "as the journal says", figures, moved(expected, move))
        self._statement()

    def _statement(self) -> None:
        lines, told = self._observer.statement(self._ada)
        ending = amount_text(self._tally.available(self._ada), EUR.precision)
        self._note(f"statement of Ada, {counted(lines, 'line')}", told, f"from 0 to {ending}")

    def _owners(self) -> None:
        """A second balance for the owner, and what two requests say about her."""
        asked = [
            self._client.link_identity(self._ben, self._owner, made_by="demo"),
            self._client.merge_meta_data(self._owner, {"tier": "gold", "kyc": "open"}),
            self._client.merge_meta_data(self._owner, {"kyc": "passed"}),
        ]
        self._await(asked)
        self._note(
            "Ben's linked to her; meta_data merged",
            self._observer.owner_told(self._owner, self._names),
            "owns Ada, Ben; kyc passed, tier gold",
            records=3,
        )

    def _spree(self, name: str) -> list[dict[str, Any]]:
        """Three payments, of which the last can't be funded."""
        return [
            self._pay(f"{name}-1", self._ada, self._shop, "100"),
            self._pay(f"{name}-2", self._ben, "@Tax", "20"),
            self._pay(f"{name}-3", self._ben, self._shop, "900"),
        ]
