"""The command line as people and programs use it: a process of its own on real servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Installation, daybook_program
from tests.integration.posting import Posting, divided, move

from daybook import __version__
from daybook.cli.exits import Exit
from daybook.errors import MalformedRequest
from daybook.ledger.instructions import Commit, Void
from daybook.store.read import queries

FIGURES = {"credit_balance", "debit_balance", "inflight_credit_balance", "inflight_debit_balance"}
OUTCOME_SECONDS_MAX = 60
FAR_MICROS = 4_102_444_800_000_000
"""2100-01-01 in UTC, in microseconds since the epoch."""


def answer(result: Any, code: Exit = Exit.OK) -> Any:
    """The JSON on standard output of a command that ended with ``code``."""
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout, parse_float=Decimal)


def enqueue(installation: Installation, reference: str, *options: str) -> Any:
    """Ask for a deposit of 12.34 by the command line; ``options`` come on top."""
    return installation.run(
        *("enqueue", "--reference", reference, "--source", "@World", "--currency", "USD"),
        *("--amount", "12.34", "--precision", "100", "--allow-overdraft", "--json"),
        *options,
    )


def run_in(environment: dict[str, str], *arguments: str) -> Any:
    """Run the command line in an environment of its own."""
    return subprocess.run(
        [daybook_program(), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=OUTCOME_SECONDS_MAX,
        check=False,
    )


@pytest.fixture
def balance_id(installation: Installation) -> str:
    """A balance that the command line has created, with an external_id."""
    ledger = answer(installation.run("ledger", "create", "Customers", "--json"))["id"]
    meta_data = '{"external_id": "A-17", "score": 0.12345678901234567890}'
    created = answer(
        installation.run("balance", "create", ledger, "USD", "--meta-data", meta_data, "--json")
    )
    assert created["state"] == "accepted"
    return str(created["id"])


def test_what_was_asked_for_can_be_looked_at(installation: Installation, balance_id: str) -> None:
    """A deposit that the command line enqueued is queued, then applied, under all its names."""
    receipt = answer(enqueue(installation, "first", "--destination", balance_id))
    queued = answer(installation.run("transaction", "first", "--json"))
    assert (queued["transaction_id"], queued["status"]) == (receipt["id"], "QUEUED")
    installation.drain()

    by_reference = answer(installation.run("transaction", "first", "--json"))
    by_id = answer(installation.run("transaction", receipt["id"], "--json"))
    assert by_reference == by_id
    assert (by_id["status"], by_id["precise_amount"], by_id["amount_string"]) == (
        "APPLIED",
        1234,
        "12.34",
    )
    assert by_id["destination"] == balance_id

    listed = answer(installation.run("transactions", "--balance", balance_id, "--json"))
    assert listed == [by_id]


def test_a_balance_is_found_by_each_of_its_names(
    installation: Installation, balance_id: str
) -> None:
    """By id, by external_id, and an internal one by indicator and currency; numbers are exact."""
    answer(enqueue(installation, "first", "--destination", balance_id))
    installation.drain()

    by_id = answer(installation.run("balance", balance_id, "--json"))
    by_external_id = answer(installation.run("balance", "--external-id", "A-17", "--json"))
    world = answer(installation.run("balance", "@World", "--currency", "USD", "--json"))
    shown = installation.run("balance", "show", balance_id)

    assert by_id == by_external_id
    assert by_id.keys() >= FIGURES
    assert (by_id["balance"], by_id["available"], by_id["version"]) == (1234, 1234, 1)
    assert str(by_id["meta_data"]["score"]) == "0.1234567890123456789"
    assert (world["indicator"], world["balance"]) == ("@World", -1234)
    assert "1234  (12.34)" in shown.stdout


def test_lists_in_tables_cut_no_id(installation: Installation, balance_id: str) -> None:
    """Tables that go into a pipe show ids in full, and amounts with their cents."""
    answer(enqueue(installation, "first", "--destination", balance_id, "--amount", "12.30"))
    installation.drain()

    ledgers = installation.run("ledgers").stdout
    balances = installation.run("balances").stdout
    transactions = installation.run("transactions").stdout

    assert "general_ledger_id" in ledgers
    assert "Customers" in ledgers
    assert re.search(rf"{balance_id}\s+A-17\s+USD\s+12\.30\s", balances)
    who_paid = r"txn_\S{36}\s+first\s+transaction\s+APPLIED\s+@World\s+A-17\s+12\.30\s+USD"
    assert re.search(who_paid, transactions)


def test_a_first_purchase_that_is_refused_says_from_whom(
    installation: Installation, balance_id: str
) -> None:
    """Of internal balances that a rejection kept from being created, names are shown."""
    move = ("--currency", "USD", "--amount", "5", "--precision", "100")
    installation.run(
        "enqueue", "--reference", "out", "--source", balance_id, "--destination", "@Sales", *move
    )
    installation.run(
        "enqueue", "--reference", "in", "--source", "@Till", "--destination", balance_id, *move
    )
    installation.drain()
    listed = answer(installation.run("transactions", "--json"))
    sides = {(each["source_indicator"], each["destination_indicator"]) for each in listed}
    assert sides == {(None, "@Sales"), ("@Till", None)}
    assert {(each["source_external_id"], each["destination_external_id"]) for each in listed} == {
        ("A-17", None),
        (None, "A-17"),
    }


def shown(installation: Installation) -> str:
    """The records of the journal, as people see them."""
    return str(installation.run("transactions").stdout)


def test_a_hold_shows_its_parts(installation: Installation, balance_id: str) -> None:
    """A hold shows what is committed and left; commit and void are commands of their own."""
    answer(enqueue(installation, "money", "--destination", balance_id))
    hold = answer(
        installation.run(
            *("enqueue", "--reference", "hold", "--source", balance_id, "--destination", "@Fees"),
            *("--currency", "USD", "--precise-amount", "900", "--precision", "100"),
            *("--inflight", "--json"),
        )
    )["id"]
    answer(installation.run("commit", hold, "--amount", "2.00", "--json"))
    installation.drain()
    part = answer(installation.run("transaction", hold, "--json"))["hold"]
    assert part == {"amount": 900, "committed": 200, "voided": 0, "remaining": 700, "commits": 1}

    answer(installation.run("void", hold, "--json"))
    installation.drain()
    rest = answer(installation.run("transaction", "hold", "--json"))["hold"]
    assert (rest["voided"], rest["remaining"]) == (700, 0)
    actions = answer(installation.run("transactions", "--parent", hold, "--json"))
    assert [action["status"] for action in actions] == ["VOID", "APPLIED"]
    (listed,) = answer(installation.run("transactions", "--reference", "hold", "--json"))
    assert listed["hold"] == rest
    assert re.search(r"hold\s+transaction\s+INFLIGHT 2\.00 committed\s", shown(installation))
    assert "commit" in installation.run("transaction", hold).stdout


def test_a_request_with_legs_is_one_page(installation: Installation) -> None:
    """Legs and actions are tables below the request, and lists in its JSON; both are exact."""
    posting = Posting(installation)
    ann, bob = posting.balance(), posting.balance()
    group = posting.post(divided("rooms", {ann: 700, bob: 300}, inflight=True)).transaction_id
    void = posting.post(Void(group)).transaction_id

    exact = answer(installation.run("transaction", group, "--json"))
    people = installation.run("transaction", "rooms").stdout

    assert exact["hold"]["voided"] == 1000
    assert [leg["destination"] for leg in exact["records"]] == [ann, bob]
    assert [leg["hold"]["voided"] for leg in exact["records"]] == [700, 300]
    assert [action["transaction_id"] for action in exact["actions"]] == [void]
    assert not {"records", "actions", "refunded_by"} & exact["records"][0].keys()
    assert re.search(rf"1\s+txn_\S+\s+rooms_1\s+@World\s+{ann}\s+INFLIGHT voided\s+7\.00\s", people)
    assert re.search(rf"{void}\s+void\s+VOID", people)


def test_owners_and_changes_are_looked_up(installation: Installation) -> None:
    """An owner, the balances of an owner, and who changed what, each with one command."""
    posting = Posting(installation)
    owner = posting.identity(first_name="Ann", last_name="Lee", email_address="ann@example.com")
    own = posting.balance(identity_id=owner)
    posting.balance()
    posting.change(own, meta_data='{"score":0.12345678901234567890}', made_by="carol")

    listed = answer(installation.run("identities", "--json"))
    shown = answer(installation.run("identity", owner, "--json"))
    balances = answer(installation.run("balances", "--identity", owner, "--json"))
    changes = answer(installation.run("changes", own, "--json"))
    kinds = answer(installation.run("transactions", "--kind", "change", "--json"))
    table = installation.run("changes", own).stdout
    missing = installation.run("identity", "idt_x")

    assert listed == [shown]
    assert (shown["identity_id"], shown["email_address"]) == (owner, "ann@example.com")
    assert [(view["balance_id"], view["identity_id"]) for view in balances] == [(own, owner)]
    assert [(change["kind"], change["made_by"]) for change in changes] == [
        ("change", "carol"),
        ("balance", None),
    ]
    assert str(changes[0]["meta_data"]["score"]) == "0.12345678901234567890"
    assert [view["subject"] for view in kinds] == [own]
    assert re.search(r"change\s+carol\s+APPLIED\s+{.score.: 0.12345678901234567890}", table)
    assert missing.returncode == Exit.BAD_ANSWER
    assert "daybook identities" in missing.stderr


def test_what_waits_for_a_date_is_listed_and_counted(installation: Installation) -> None:
    """Schedules and open holds with their dates and remainders, and their number in the status."""
    posting = Posting(installation)
    ann = posting.balance()
    body = {"currency": "USD", "precise_amount": "9050", "precision": "100"}
    rent = posting.post(move("rent", ann, 9050, scheduled_micros=FAR_MICROS), body=body)
    hold = posting.post(move("room", ann, 500, inflight=True, expires_micros=FAR_MICROS))
    posting.post(Commit(hold.transaction_id, precise_amount=120))

    schedules = answer(installation.run("schedules", "--json"))
    holds = answer(installation.run("holds", "--json"))
    status = answer(installation.run("status", "--json", "--no-workers"))

    assert [each["transaction_id"] for each in schedules] == [rent.transaction_id]
    assert schedules[0]["scheduled_for"] == "2100-01-01T00:00:00Z"
    assert [(each["transaction_id"], each["remaining"]) for each in holds] == [
        (hold.transaction_id, 380)
    ]
    assert holds[0]["inflight_expiry_date"] == "2100-01-01T00:00:00Z"
    counts = [status[name] for name in ("schedules", "schedules_due", "holds", "holds_due")]
    assert counts == [1, 0, 1, 0]
    assert re.search(r"rent\s+90\.50\s+USD", installation.run("schedules").stdout)
    assert re.search(r"5\.00\s+3\.80\s+USD", installation.run("holds").stdout)
    early = installation.run("holds", "--due-before", "2099-12-31", "--json")
    assert answer(early) == []
    shown = answer(installation.run("transaction", "rent", "--json"))
    assert (shown["transaction_id"], shown["status"]) == (rent.transaction_id, "SCHEDULED")


def test_wait_shows_the_outcome(installation: Installation, balance_id: str) -> None:
    """With a worker, --wait ends with the outcome; a rejection is exit code 1 with its reason."""
    installation.workers(1)
    seconds = str(OUTCOME_SECONDS_MAX)

    applied = enqueue(installation, "in", "--destination", balance_id, "--wait", seconds)
    refused = installation.run(
        *("enqueue", "-", "--wait", seconds, "--json"),
        input=json.dumps(
            {
                "reference": "out",
                "source": balance_id,
                "destination": "@Fees",
                "currency": "USD",
                "precise_amount": 10**30,
                "precision": 100,
            }
        ),
    )

    assert answer(applied)["status"] == "APPLIED"
    outcome = answer(refused, Exit.BAD_ANSWER)
    assert (outcome["status"], outcome["reason"]) == ("REJECTED", "insufficient_funds")
    status = answer(installation.run("status", "--json"))
    assert len(status["workers"]) == 1
    assert status["queued"] == status["deferred"] == 0


def test_a_wait_that_ends_says_unknown(installation: Installation, balance_id: str) -> None:
    """Without a worker the outcome is unknown, which is neither success nor rejection."""
    result = enqueue(installation, "in", "--destination", balance_id, "--wait", "0.1")
    assert answer(result, Exit.UNKNOWN)["status"] == "QUEUED"
    assert "may still be posted" in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_input_names_every_field(installation: Installation) -> None:
    """All that is wrong with a request is said at once, a line for each field, and not sent."""
    result = installation.run(
        *("enqueue", '{"reference": "", "unknown": 1, "amount": 12345678901234.56}')
    )
    both = installation.run(
        *("enqueue", '{"reference": "", "unknown": 1}', "--amount", "-5", "--source", "x")
    )

    assert (result.returncode, both.returncode) == (Exit.BAD_INPUT, Exit.BAD_INPUT)
    assert "precise_amount" in result.stderr
    lines = both.stderr.splitlines()
    named = {line.split(":")[1].strip() for line in lines if line.startswith("error: ")}
    assert named >= {"reference", "unknown", "--amount", "--source", "destination", "currency"}
    assert installation.log.clock() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("enqueue", "{"),
        ("enqueue", "[]"),
        ("ledger", "create", "X", "--meta-data", "[]"),
        ("balance", "@World"),
        ("balance",),
        ("transactions", "--since", "yesterday"),
        ("balances", "--limit", "0"),
        ("nonsense",),
    ],
)
def test_usage_errors_have_one_code(installation: Installation, arguments: tuple[str, ...]) -> None:
    """What can't be understood ends with exit code 2 and no traceback."""
    result = installation.run(*arguments)
    assert result.returncode == Exit.BAD_INPUT
    assert "Traceback" not in result.stderr


def test_a_name_of_two_transactions_is_not_guessed(
    installation: Installation, balance_id: str
) -> None:
    """The id of one and the reference of another: queued or recorded, --id and --reference say."""
    first = answer(enqueue(installation, "first", "--destination", balance_id))["id"]
    second = answer(enqueue(installation, first, "--destination", balance_id))["id"]
    for _ in range(2):
        by_id = answer(installation.run("transaction", "--id", first, "--json"))
        by_reference = answer(installation.run("transaction", "--reference", first, "--json"))
        assert (by_id["transaction_id"], by_reference["transaction_id"]) == (first, second)
        refused = installation.run("transaction", first)
        assert refused.returncode == Exit.BAD_INPUT
        assert "say --id or --reference" in refused.stderr
        installation.drain()
    assert installation.run("transaction", first, "--id", first).returncode == Exit.BAD_INPUT


@pytest.mark.parametrize(
    "arguments", [("balance", "bln_x"), ("balance", "--external-id", "x"), ("transaction", "x")]
)
def test_not_found_is_a_bad_answer(installation: Installation, arguments: tuple[str, ...]) -> None:
    """What does not exist ends with exit code 1 and one line that says so."""
    result = installation.run(*arguments)
    assert result.returncode == Exit.BAD_ANSWER
    assert len(result.stderr.splitlines()) == 1


def test_a_conflict_is_a_bad_answer(installation: Installation, balance_id: str) -> None:
    """A reference of another request is refused, naming what differs; the same request is not."""
    first = answer(enqueue(installation, "one", "--destination", balance_id))
    again = answer(enqueue(installation, "one", "--destination", balance_id))
    other = enqueue(installation, "one", "--destination", balance_id, "--amount", "1")

    assert (again["id"], again["state"]) == (first["id"], "duplicate")
    assert other.returncode == Exit.BAD_ANSWER
    assert first["id"] in other.stderr
    assert "precise_amount" in other.stderr


def test_status_counts_what_is_open(installation: Installation, balance_id: str) -> None:
    """Queued entries are counted with their age until they are applied; cursors are moments."""
    before = answer(installation.run("status", "--json", "--no-workers"))
    installation.drain()
    after = answer(installation.run("status", "--json", "--no-workers"))

    assert before["queued"] == sum(p["queued"] for p in before["partitions"]) == 2
    assert before["oldest_age_seconds"] > 0
    assert before["workers"] is None
    assert after["queued"] == 0
    assert after["oldest_age_seconds"] is None
    assert [p["lag_seconds"] for p in after["partitions"]] == [0, 0]
    moved = [p for p in after["partitions"] if p["cursor"]]
    assert max(p["cursor"] for p in moved) == installation.log.clock()
    assert all(p["cursor_time"].startswith("20") for p in moved)
    assert after["schema_revision"] == after["schema_newest"]
    assert "queued" in installation.run("status", "--no-workers").stdout
    del balance_id


def test_status_without_the_log_shows_the_store(installation: Installation) -> None:
    """With Redis down, what Postgres knows is shown, and the exit code says unavailable."""
    environment = installation.environment | {
        "DAYBOOK_REDIS_URL": f"unix://{installation.folder}/nothing.sock?password=hidden-word"
    }
    result = run_in(environment, "status", "--json")

    status = answer(result, Exit.UNAVAILABLE)
    assert len(status["partitions"]) == 2
    assert status["queued"] is None
    assert len(status["errors"]) == 1
    assert "hidden-word" not in result.stdout + result.stderr
    assert "only-for-tests" not in result.stdout + result.stderr  # the database's password


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (("ledgers",), "DAYBOOK_DATABASE_URL"),
        (("verify",), "DAYBOOK_DATABASE_URL"),
        (("partitions", "resize", "3", "--yes"), "DAYBOOK_DATABASE_URL"),
        (("ledger", "create", "X"), "DAYBOOK_REDIS_URL"),
        (("migrate",), "DAYBOOK_MIGRATION_DATABASE_URL"),
    ],
)
def test_unavailable_servers_have_one_code(
    installation: Installation, arguments: tuple[str, ...], variable: str
) -> None:
    """A server that does not answer is exit code 3, with the next step and no traceback."""
    nowhere = {
        "DAYBOOK_DATABASE_URL": f"postgresql://x@/x?host={installation.folder}",
        "DAYBOOK_MIGRATION_DATABASE_URL": f"postgresql://x@/x?host={installation.folder}",
        "DAYBOOK_REDIS_URL": f"unix://{installation.folder}/nothing.sock",
    }
    environment = installation.environment | {variable: nowhere[variable]}
    result = run_in(environment, *arguments)

    assert result.returncode == Exit.UNAVAILABLE
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    assert "daybook up" in result.stderr


def test_without_settings_the_next_step_is_named(installation: Installation) -> None:
    """Without addresses and without an instance, the error says how to get one."""
    environment = {
        key: value for key, value in installation.environment.items() if not key.endswith("_URL")
    }
    result = run_in(environment, "ledgers")
    assert result.returncode == Exit.UNAVAILABLE
    assert "daybook up --detach" in result.stderr


def test_verify_is_quiet_when_all_is_right(installation: Installation, balance_id: str) -> None:
    """A right ledger is exit code 0 and, piped, no progress bar."""
    enqueue(installation, "in", "--destination", balance_id)
    installation.drain()
    report = answer(installation.run("verify", "--json"))
    assert report["ok"] is True
    assert report["records"] == 3  # two creations and the transaction
    assert [head["partition"] for head in report["heads"]] == [0, 1]
    people = installation.run("verify")
    assert (people.returncode, people.stderr) == (Exit.OK, "")


def test_verify_names_the_first_violations(installation: Installation, balance_id: str) -> None:
    """A tampered ledger is exit code 1, and says what is wrong where."""
    enqueue(installation, "in", "--destination", balance_id)
    installation.drain()
    installation.rows("UPDATE balances SET version = version + 1")

    people = installation.run("verify")
    report = answer(installation.run("verify", "--json"), Exit.BAD_ANSWER)

    assert people.returncode == Exit.BAD_ANSWER
    assert f"{balance_id}: version is 2, the journal says 1" in people.stdout
    assert report["ok"] is False
    assert report["violations_by_code"] == {"balance_mismatch": 2}


def test_text_of_others_cannot_steer_a_terminal(
    installation: Installation, balance_id: str
) -> None:
    """Escape sequences and markup in a description are shown, not obeyed."""
    text = "\x1b[2J[red]gone[/red]\u202e"
    enqueue(installation, "in", "--destination", balance_id, "--description", text)
    installation.drain()

    people = installation.run("transaction", "in")
    exact = answer(installation.run("transaction", "in", "--json"))

    assert r"\x1b[2J[red]gone[/red]\u202e" in people.stdout
    assert exact["description"] == text


def test_help_teaches(installation: Installation) -> None:
    """The help names every exit code and each command has examples or options explained."""
    top = installation.run("--help").stdout
    for code in Exit:
        assert re.search(rf"\b{code.value} ", top.split("Exit codes:")[1])
    assert "Examples" in installation.run("balance", "show", "--help").stdout
    assert "daybook.partition.0" in installation.run("worker", "--help").stdout


def test_migrate_says_what_is_there(installation: Installation) -> None:
    """Migrating again changes nothing; another number of partitions is refused."""
    again = answer(installation.run("migrate", "--json"))
    other = installation.run("migrate", "--partitions", "3")
    assert again["partitions"] == 2
    assert other.returncode == Exit.UNAVAILABLE
    assert "this installation has 2" in other.stderr


def test_status_says_that_nothing_runs(tmp_path: Path) -> None:
    """Without an instance and without addresses: one line with the next step, exit code 3."""
    environment = {"PATH": os.environ["PATH"], "DAYBOOK_HOME": str(tmp_path / "home")}
    result = run_in(environment, "status")
    assert (result.returncode, result.stdout) == (Exit.UNAVAILABLE, "")
    assert result.stderr.startswith(f"error: nothing runs in {tmp_path / 'home'}: start it with ")
    assert result.stderr.count("\n") == 1
    as_json = answer(run_in(environment, "status", "--json"), Exit.UNAVAILABLE)
    assert [f"error: {error}\n" for error in as_json["errors"]] == [result.stderr]


def test_the_version_needs_no_command() -> None:
    """--version shows the package's version."""
    result = run_in({"PATH": os.environ["PATH"]}, "--version")
    assert (result.returncode, result.stdout) == (Exit.OK, f"daybook {__version__}\n")


def test_a_ledger_is_called_by_its_name(installation: Installation, balance_id: str) -> None:
    """Wherever a ledger is named; of a name that two have, and of none, that is said."""
    answer(enqueue(installation, "first", "--destination", balance_id))
    more = ("balance", "create", "Customers", "EUR", "--json")
    installation.drain()
    other = answer(installation.run(*more))["id"]
    installation.drain()
    of_it = answer(installation.run("balances", "--ledger", "Customers", "--json"))
    assert {each["balance_id"] for each in of_it} == {balance_id, other}
    moved = answer(installation.run("transactions", "--ledger", "Customers", "--json"))
    assert [each["reference"] for each in moved] == ["first"]
    answer(installation.run("ledger", "create", "Customers", "--json"))
    assert installation.run("ledger", "rename", "x", "y").returncode == Exit.BAD_INPUT
    installation.drain()
    for command, code, said in (
        (
            ("balances", "--ledger", "x"),
            Exit.BAD_ANSWER,
            "there is no ledger x: a ledger",
        ),
        (
            ("transactions", "--ledger", "Customers"),
            Exit.BAD_INPUT,
            "--ledger: several ledgers",
        ),
        (("transactions", "--meta", "shop"), Exit.BAD_INPUT, "--meta: write it as KEY=VALUE, not"),
        (("trial-balance", "--prefix", "@Nope"), Exit.OK, "No balance has the prefix @Nope."),
        (("trial-balance", "--prefix", "Nope"), Exit.BAD_INPUT, "--prefix: names of internal"),
        (("balances", "--indicator", "Nope"), Exit.BAD_INPUT, "begin with @; give @Nope"),
        (("trial-balance", "--at", "1999-01-01"), Exit.OK, "Nothing had moved by then."),
    ):
        shown = installation.run(*command)
        assert (shown.returncode, said in shown.stdout + shown.stderr) == (code, True), shown


def test_what_is_no_id_finds_nothing(installation: Installation) -> None:
    """A filter that is no id, and no name, is told; it never stands for things without one."""
    for command, code, said in (
        (("transactions", "--parent", "nope"), Exit.BAD_ANSWER, "no request has the reference"),
        (("transactions", "--balance", "nope"), Exit.BAD_ANSWER, "there is no balance nope"),
        (("balances", "--identity", "nope"), Exit.BAD_INPUT, "nope is no id like"),
    ):
        shown = installation.run(*command)
        assert shown.returncode == code
        assert said in " ".join(shown.stderr.split())
    with queries.reading(installation.engine) as connection:
        with pytest.raises(MalformedRequest, match="parent: nope is no id"):
            queries.list_transactions(connection, parent="nope")
        with pytest.raises(MalformedRequest, match="balance_id: nope is no id"):
            queries.list_transactions(connection, balance_id="nope")
