"""Submitting every kind of request on the command line, answered by a worker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from tests.harness import Cluster, Installation
from typer.testing import CliRunner, Result

from daybook.cli.commands import app
from daybook.cli.exits import Exit
from daybook.settings import current

NEW_BALANCE = "bln_0198a1b2-0000-7000-8000-000000000001"
NEW_HOLD = "txn_0198a1b2-0000-7000-8000-000000000001"
FAR = "2200-01-01T00:00:00Z"


class Desk(NamedTuple):
    """A command line in this process, on an installation with a worker."""

    installation: Installation

    def run(self, *arguments: str, given: str | None = None) -> Result:
        """Run one command; ``given`` is its standard input."""
        return CliRunner().invoke(app, arguments, input=given)

    def ask(self, *arguments: str, given: str | None = None, code: Exit = Exit.OK) -> Any:
        """The outcome of a request that is waited for."""
        result = self.run(*arguments, "--wait", "60", "--json", given=given)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def deposit(self, reference: str, destination: str, *options: str) -> Any:
        """Ask for 10.00 from @World."""
        return self.ask(
            *("enqueue", "--reference", reference, "--source", "@World", "--currency", "USD"),
            *("--destination", destination, "--precise-amount", "1000", "--precision", "100"),
            *("--allow-overdraft", *options),
        )

    def new_balance(self) -> str:
        """A balance of its own for one test."""
        return str(self.ask("balance", "create", "general_ledger_id", "USD")["id"])

    def funded(self) -> str:
        """A new balance with 10.00."""
        balance = self.new_balance()
        self.deposit(f"money of {balance}", balance)
        return balance

    def figures(self, balance_id: str) -> tuple[int, int, int]:
        """Credit, debit and inflight debit."""
        ((credit, debit, held),) = self.installation.rows(
            "SELECT credit_balance, debit_balance, inflight_debit_balance FROM balances "
            "WHERE balance_id = %s",
            balance_id[4:],
        )
        return int(credit), int(debit), int(held)


@pytest.fixture(scope="module")
def working(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a worker."""
    installation = Installation(cluster, 2, tmp_path_factory.mktemp("desk"))
    installation.workers(1)
    yield installation
    installation.close()


@pytest.fixture
def desk(working: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name, value in working.environment.items():
        monkeypatch.setenv(name, value)
    current.cache_clear()
    yield Desk(working)
    current.cache_clear()
    structlog.reset_defaults()  # the command line logs to a stderr that is gone


def transfers(*amounts: int, **changes: Any) -> list[dict[str, Any]]:
    """Transactions of a bulk, each of so many cents."""
    return [
        {
            "reference": f"{changes['name']}-{number}",
            "source": changes["source"],
            "destination": "@Fees",
            "currency": "USD",
            "precise_amount": amount,
            "precision": 100,
        }
        for number, amount in enumerate(amounts)
    ]


def test_legs_are_options(desk: Desk) -> None:
    """--to and --from divide the amount: percentages, fixed amounts and what is left."""
    first, second = desk.new_balance(), desk.new_balance()
    shared = desk.ask(
        *("enqueue", "--reference", "legs", "--source", "@World", "--currency", "USD"),
        *("--to", f"{first}=25%", "--to", f"{second}=left", "--to", "@Fees=1.50"),
        *("--amount", "10", "--precision", "100", "--allow-overdraft"),
    )
    assert shared["status"] == "APPLIED"
    assert (desk.figures(first)[0], desk.figures(second)[0]) == (250, 600)
    paid = desk.ask(
        *("enqueue", "--reference", "legs back", "--destination", "@Fees", "--currency", "USD"),
        *("--from", f"{first}=2.50", "--from", f"{second}=left"),
        *("--amount", "5", "--precision", "100"),
    )
    assert paid["status"] == "APPLIED"
    assert (desk.figures(first)[1], desk.figures(second)[1]) == (250, 250)
    refund = desk.ask("refund", paid["id"])
    assert refund["status"] == "APPLIED"
    assert desk.ask("refund", paid["id"], code=Exit.BAD_ANSWER)["reason"] == "already_refunded"
    assert desk.figures(first) == (500, 250, 0)


def test_a_scheduled_transaction_is_an_answer_and_can_be_cancelled(desk: Desk) -> None:
    """--wait ends with SCHEDULED and exit code 0; a second cancel is refused with 1."""
    balance = desk.new_balance()
    scheduled = desk.deposit("later", balance, "--scheduled-for", FAR)
    assert scheduled["status"] == "SCHEDULED"
    assert desk.ask("cancel", scheduled["id"])["status"] == "APPLIED"
    assert desk.ask("cancel", scheduled["id"], code=Exit.BAD_ANSWER)["reason"] == "not_scheduled"
    assert desk.figures(balance)[0] == 0


def test_a_hold_may_have_its_dates(desk: Desk) -> None:
    """A hold that has expired when it is accepted is void as soon as the sweeper comes."""
    balance = desk.new_balance()
    desk.deposit("dated", balance, "--effective-date", "2026-01-01T00:00:00Z")
    hold = desk.ask(
        *("enqueue", "--reference", "dated hold", "--source", balance, "--destination", "@Fees"),
        *("--currency", "USD", "--precise-amount", "400", "--precision", "100", "--inflight"),
        *("--inflight-expiry-date", FAR, "--inflight-commit-date", "2199-01-01T00:00:00Z"),
    )
    assert (hold["status"], desk.figures(balance)) == ("INFLIGHT", (1000, 0, 400))
    assert desk.ask("void", hold["id"])["status"] == "VOID"


def test_a_bulk_comes_from_a_file_or_a_pipe(desk: Desk, tmp_path: Path) -> None:
    """Lines, an array or an object; all or none with --atomic; holds are committed by its id."""
    balance = desk.new_balance()
    desk.deposit("bulk money", balance)
    lines = "\n".join(map(json.dumps, transfers(100, 50, name="lines", source=balance))) + "\n\n"
    done = desk.ask("bulk", "-", "--reference", "bulk-lines", given=lines)
    assert (done["status"], done["id"][:5]) == ("APPLIED", "bulk_")
    array = tmp_path / "array.json"
    array.write_text(json.dumps(transfers(100, 5000, name="array", source=balance)))
    refused = desk.ask("bulk", str(array), "--atomic", code=Exit.BAD_ANSWER)
    assert (refused["reason"], desk.figures(balance)) == ("insufficient_funds", (1000, 150, 0))
    assert desk.ask("bulk", str(array), "--atomic", code=Exit.BAD_ANSWER)["duplicate"]
    whole = {"transactions": transfers(300, 200, name="object", source=balance), "inflight": True}
    held = desk.ask("enqueue", "-", given=json.dumps(whole))
    assert (held["status"], desk.figures(balance)) == ("INFLIGHT", (1000, 150, 500))
    assert desk.ask("commit", held["id"])["status"] == "APPLIED"
    one = json.dumps(transfers(1, name="single", source=balance)[0])
    assert desk.ask("bulk", "-", "--inflight", given=one)["status"] == "INFLIGHT"
    assert desk.figures(balance) == (1000, 650, 1)


def test_what_moves_money_has_a_date_of_its_own(desk: Desk) -> None:
    """--effective-date of commits, voids, refunds and bulks is when their records count."""
    balance = desk.new_balance()
    paid = desk.deposit("of march", balance)
    held = desk.deposit("held in march", balance, "--inflight")["id"]
    days = [f"2024-03-0{day}T12:00:00Z" for day in range(1, 6)]
    desk.ask("commit", held, "--amount", "2.50", "--effective-date", days[0])
    desk.ask("void", held, "--effective-date", days[1])
    desk.ask("refund", paid["id"], "--effective-date", days[2])
    lines = "\n".join(map(json.dumps, transfers(1, 1, name="bulk of march", source=balance)))
    said = ("--description", "march", "--effective-date", days[3])
    bulk = desk.ask("bulk", "-", *said, given=lines)["id"]
    own = {**transfers(1, name="bulk of april", source=balance)[0], "effective_date": days[4]}
    desk.ask("bulk", "-", *said, given=json.dumps([own | {"description": "april"}]))
    rows = desk.installation.rows(
        "SELECT kind, effective_date, description FROM transactions "
        "WHERE effective_date < '2025-01-01' ORDER BY effective_date, kind, part"
    )
    moments = [datetime.fromisoformat(day) for day in days]
    assert [(kind, date.astimezone(UTC), text) for kind, date, text in rows] == [
        ("commit", moments[0], ""),
        ("void", moments[1], ""),
        ("refund", moments[2], ""),
        ("bulk", moments[3], "march"),
        ("bulk", moments[3], "march"),
        ("transaction", moments[3], "march"),
        ("transaction", moments[3], "march"),
        ("transaction", moments[4], "april"),
    ]
    shown = desk.run("transaction", bulk, "--json")
    assert json.loads(shown.stdout)["effective_date"].startswith("2024-03-04T12:00:00")
    late = desk.run("refund", paid["id"], "--effective-date", FAR)
    assert "--effective-date: lies more than a day in the future" in late.stderr


def test_amounts_are_rounded_only_when_asked(desk: Desk) -> None:
    """--rounding of a transaction, of its legs, and of a commit; otherwise the fix is named."""
    balance = desk.new_balance()
    exact = ("enqueue", "--source", "@World", "--currency", "USD", "--allow-overdraft")
    third = ("--reference", "third", "--destination", balance, "--amount", "0.335")
    refused = desk.run(*exact, *third, "--precision", "100")
    assert refused.exit_code == Exit.BAD_INPUT
    assert "send 0.33 or 0.34, or set rounding to half_up" in refused.stderr
    assert "precision: is required" in desk.run(*exact, *third).stderr
    held = desk.ask(*exact, *third, "--precision", "100", "--rounding", "half_up", "--inflight")
    part = ("commit", held["id"], "--amount", "0.125")
    assert desk.ask(*part, code=Exit.BAD_ANSWER)["reason"] == "invalid_amount"
    desk.ask(*part, "--rounding", "half_up")
    assert desk.figures(balance)[0] == 13
    sides = ("--to", f"{balance}=0.125", "--to", "@Fees=left")
    legs = ("--reference", "legs of a third", *sides, "--amount", "1", "--precision", "100")
    assert "--to[0].distribution: 0.125 is no whole" in desk.run(*exact, *legs).stderr
    desk.ask(*exact, *legs, "--rounding", "half_up")
    assert desk.figures(balance)[0] == 26


def test_what_is_not_money_is_asked_for_too(desk: Desk) -> None:
    """Identities are made and changed, own balances; names and meta_data change."""
    owner = desk.ask("identity", "create", "first_name=Ada", "city=London", "--meta-data", "{}")
    assert owner["id"].startswith("idt_")
    changed = desk.ask("identity", "change", owner["id"], "city=Paris", "--by", "anna")
    ledger = desk.ask("ledger", "create", "Old")["id"]
    balance = desk.ask("balance", "create", ledger, "USD", "--identity", owner["id"])["id"]
    other = desk.ask("balance", "create", ledger, "USD")["id"]
    outcomes = [
        changed,
        desk.ask("balance", "link", other, owner["id"], "--reference", "link"),
        desk.ask("ledger", "rename", ledger, "New", "--by", "anna"),
        desk.ask("meta-data", balance, '{"tier": "gold"}'),
        desk.ask("meta-data", balance, '{"since": 2026}', "--by", "ben"),
    ]
    assert [outcome["status"] for outcome in outcomes] == ["APPLIED"] * 5
    rows = desk.installation.rows
    assert rows("SELECT city FROM identities WHERE identity_id = %s", owner["id"][4:]) == [
        ("Paris",)
    ]
    assert rows("SELECT name FROM ledgers WHERE ledger_id = %s", ledger) == [("New",)]
    owned = "SELECT count(*) FROM balances WHERE identity_id = %s"
    assert rows(owned, owner["id"][4:]) == [(2,)]
    meta_data = "SELECT meta_data FROM balances WHERE balance_id = %s"
    assert rows(meta_data, balance[4:]) == [({"tier": "gold", "since": 2026},)]


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("enqueue", "--to", "@Fees"), None, "--to[0]: write it as BALANCE=SHARE"),
        (("enqueue", '{"kind": "deadline"}'), None, "kind: must be one of"),
        (("bulk", "nothing.json"), None, "nothing.json cannot be read"),
        (("bulk", "-"), "[]", "transactions"),
        (("bulk", "-"), '{"a": 1}\n{"a": \n', "line 2: is not valid JSON"),
        (("bulk", "-"), '{"a": \n', "request: is not valid JSON"),
        (("bulk", "-"), '[{"amount": 1234567890123.4567}]', "transactions[0].amount: has more"),
        (("identity", "create", "Ada"), None, "Ada: write it as FIELD=VALUE"),
        (("identity", "create", "city=a", "city=b"), None, "city: is given twice"),
        (("identity", "create", "shoe_size=44"), None, "shoe_size: is not a field"),
        (("identity", "create", "meta_data=1"), None, "given by --id and --meta-data"),
        (("identity", "change", "idt_1"), None, "IDENTITY: must"),
        (("meta-data", NEW_BALANCE, "[]"), None, "meta_data: must be a JSON object"),
        (("meta-data", NEW_BALANCE, "{}"), None, "fields: or meta_data is required"),
        (("balance", "link", NEW_BALANCE, "Ada"), None, "IDENTITY: must look like idt_"),
        (("ledger", "rename", "ldg_1", "X"), None, "LEDGER: must"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    desk: Desk, arguments: tuple[str, ...], given: str | None, said: str
) -> None:
    """Exit code 2, the field and the fix, and no traceback."""
    before = desk.installation.log.clock()
    result = desk.run(*arguments, given=given)
    assert (result.exit_code, "Traceback" in result.output) == (Exit.BAD_INPUT, False)
    assert said in result.stderr
    assert desk.installation.log.clock() == before


def test_things_are_called_by_their_names(desk: Desk) -> None:
    """A hold or a transaction by its reference, a balance by its external_id, in every command."""
    desk.ask(
        *("balance", "create", "general_ledger_id", "USD"),
        *("--meta-data", '{"external_id": "anna"}'),
    )
    desk.deposit("anna's money", "anna")
    held = desk.ask(
        *("enqueue", "--reference", "anna's stay", "--source", "anna", "--to", "@Inn=100%"),
        *("--currency", "USD", "--amount", "4", "--precision", "100", "--inflight"),
    )
    desk.ask("commit", "anna's stay", "--amount", "1.00")
    desk.ask("void", "anna's stay")
    desk.ask("refund", "anna's money")
    desk.ask("meta-data", "anna", '{"tier": "gold"}')
    shown = json.loads(desk.run("balance", "anna", "--json").stdout)
    assert (shown["balance"], shown["meta_data"]["tier"]) == (-100, "gold")
    holds = desk.run("transaction", "anna's stay").stdout
    assert re.search(r"hold +4\.00 held: 1\.00 committed, 3\.00 voided, 0\.00 left", holds)
    done = json.loads(desk.run("transactions", "--parent", held["id"], "--json").stdout)
    assert {one["kind"] for one in done} == {"commit", "void"}
    assert "external_id" in desk.run("balance", "nobody").output
    desk.ask("meta-data", "@Inn", '{"stars": "3"}')
    assert json.loads(desk.run("changes", "@Inn", "--json").stdout)[0]["meta_data"]["stars"] == "3"
    assert "nothing is called '@Nobody'" in desk.run("changes", "@Nobody").output
    desk.deposit("in euros", "@Inn", "--currency", "EUR")
    assert "exists once for each currency" in desk.run("changes", "@Inn").output
    for words in (("refund", "no such"), ("cancel", "bulk_1"), ("void", NEW_HOLD[:-1])):
        nothing = desk.run(*words)
        assert nothing.exit_code == Exit.BAD_ANSWER
        assert "no request has the reference" in nothing.output


def test_what_a_request_was_made_of_is_shown(desk: Desk) -> None:
    """A bulk that is waited for shows its items, and so does its refund."""
    bulk = desk.ask(
        *("bulk", "-", "--reference", "parts"),
        given=json.dumps(transfers(100, 200, name="part", source=desk.funded())),
    )
    assert [item["precise_amount"] for item in bulk["records"]] == [100, 200]
    back = desk.run("refund", "parts", "--wait", "60").stdout
    assert len(re.findall(r" @Fees +bln_\S+ +APPLIED ", back)) == 2


def test_what_cannot_be_looked_for_is_bad_input(desk: Desk) -> None:
    """Any moment can be asked for; what is no id is named, and is no outage."""
    for moment in ("0001-01-01", "9999-12-31"):
        assert desk.run("transactions", "--since", moment).exit_code == Exit.OK
    page = desk.run("balances", "--after", "x")
    assert (page.exit_code, "--after: x is no id" in page.output) == (Exit.BAD_INPUT, True)


def test_a_limit_that_is_less_than_a_minor_unit_is_said(desk: Desk) -> None:
    """An overdraft limit of half a cent is none, and the rejection says why."""
    refused = desk.ask(
        *("enqueue", "--reference", "half a cent", "--source", "@Poor", "--destination", "@Fees"),
        *("--currency", "USD", "--amount", "0.01", "--precision", "100"),
        *("--overdraft-limit", "0.005"),
        code=Exit.BAD_ANSWER,
    )
    assert refused["detail"] == (
        "source: @Poor would stand at -1 if it paid @Fees, its limit is 0 (minor units): "
        "0.005 is less than one of them"
    )
