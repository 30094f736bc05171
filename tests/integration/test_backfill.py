"""``daybook backfill``: real files through the real log, workers and Postgres."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.harness import Installation, daybook_program, wait_until

from daybook import BalanceRequest, Client, LogUnavailable, Receipt
from daybook.backfill import (
    Backfill,
    LineBuilder,
    Reject,
    RequestLines,
    Row,
    balance_id_of,
    ledger_id_of,
)
from daybook.backfill.loading import check_mapping, load_mapping
from daybook.backfill.pace import Clock
from daybook.backfill.run import CHUNK_CHARACTERS_MAX
from daybook.requests import mint_id, slot_of
from daybook.store.proof.verify import verify

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
DATA = Path(os.environ.get("DAYBOOK_DATA", REPOSITORY.parent / "shared" / "data"))
ZEROS = "0x" + "0" * 40

needs_data = pytest.mark.skipif(
    not (DATA / "bank-1993.csv").exists(), reason="the files of DAYBOOK_DATA are not here"
)

MAPPING = """
[ledger]
name = "Shop"
[transaction]
reference = "sale-{id}"
source = [
  { when = { from = { empty = true } }, indicator = "@World" },
  { balance = "{from}" },
]
destination = { balance = "{to}" }
currency = "EUR"
amount = "{amount}"
precision = 100
allow_overdraft = [{ when = { from = { empty = true } }, value = true }]
inflight = "{hold}"
"""
HEADER = "id,from,to,amount,hold"


@pytest.fixture
def mapping_path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(MAPPING)
    return path


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def run(
    installation: Installation, file: Path | str, mapping: Path | None, *options: str, **kwargs: Any
) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and messages of a backfill in a process of its own."""
    ended = installation.run(
        "backfill", str(file), *(("-m", str(mapping)) if mapping else ()), "--json", *options,
        cwd=installation.folder, **kwargs,
    )  # fmt: skip
    return ended.returncode, json.loads(ended.stdout or "{}"), ended.stderr


def assert_adds_up(summary: dict[str, Any], lines: int) -> None:
    """Every line is in exactly one count."""
    refused = [*summary["refused_before_log"].values(), *summary["refused_by_ledger"].values()]
    named = ("applied", "inflight", "scheduled", "duplicates", "unknown", "valid")
    assert sum(summary[name] for name in named) + sum(refused) == summary["lines"] == lines


def assert_proven(installation: Installation) -> None:
    report = verify(installation.owner)
    assert report.ok, report.violations


def balances_by_key(installation: Installation) -> dict[str, int]:
    rows = installation.rows(
        "SELECT meta_data->>'external_id', credit_balance - debit_balance FROM balances "
        "WHERE meta_data->>'external_id' IS NOT NULL"
    )
    return {key: int(figure) for key, figure in rows}


@needs_data
@pytest.mark.long
@pytest.mark.parametrize("rows", [3_000, pytest.param(14_125, marks=pytest.mark.campaign)])
def test_a_year_of_a_bank_is_posted_once(
    installation: Installation, tmp_path: Path, rows: int
) -> None:
    """All rows apply, each account is the exact sum of its rows; again: duplicates."""
    installation.workers(2)
    bank, mapping = tmp_path / "bank.csv", EXAMPLES / "bank-csv.toml"
    with (DATA / "bank-1993.csv").open(encoding="utf-8") as file:
        bank.write_text("".join(islice(file, 1 + rows)), encoding="utf-8")
    expected: Counter[str] = Counter()
    with bank.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter=";"):
            sign = 1 if row["type"] == "PRIJEM" else -1
            expected[row["account_id"]] += sign * int(Decimal(row["amount"]) * 100)

    code, summary, _ = run(installation, bank, mapping)

    assert (code, summary["applied"], summary["balances_created"]) == (0, rows, len(expected))
    assert_adds_up(summary, rows)
    assert balances_by_key(installation) == expected
    assert_proven(installation)

    code, summary, _ = run(installation, bank, mapping)

    assert (code, summary["applied"], summary["duplicates"]) == (0, 0, rows)
    assert summary["balances_created"] == 0
    recorded = installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL")
    assert recorded == [(rows,)]


@needs_data
@pytest.mark.parametrize(
    "partitions",
    [
        pytest.param(1, marks=pytest.mark.campaign),
        pytest.param(2, marks=pytest.mark.campaign),
        8,
    ],
)
def test_token_transfers_apply_in_the_order_of_the_file(
    install_daybook: Callable[[int], Installation], partitions: int
) -> None:
    """No transfer lacks money that an earlier row brought, whatever the number of partitions."""
    installation = install_daybook(partitions)
    installation.workers(2)

    code, openings, _ = run(
        installation, DATA / "token-openings.csv", EXAMPLES / "token-openings.toml"
    )
    assert (code, openings["applied"]) == (0, 951)
    code, summary, _ = run(
        installation, DATA / "token-transfers.csv", EXAMPLES / "token-transfers.toml"
    )

    assert (code, summary["applied"], summary["refused_by_ledger"]) == (0, 2_491, {})
    assert summary["refused_before_log"] == {"invalid_amount": 9}
    assert balances_by_key(installation) == expected_token_balances()
    assert_proven(installation)


def expected_token_balances() -> dict[str, int]:
    figures: Counter[str] = Counter()
    with (DATA / "token-openings.csv").open() as file:
        for row in csv.DictReader(file):
            figures[f"{row['token']}/{row['address']}"] += int(row["value"])
    with (DATA / "token-transfers.csv").open() as file:
        for row in csv.DictReader(file):
            for side, sign in (("from", -1), ("to", 1)):
                if row[side] != ZEROS and int(row["value"]):
                    figures[f"{row['token']}/{row[side]}"] += sign * int(row["value"])
    return dict(figures)


def test_every_line_is_accounted_for(installation: Installation, mapping_path: Path) -> None:
    """Applied, held, refused before the log and by the ledger; a rerun tells the same story."""
    installation.workers(1)
    file = write_csv(
        installation.folder / "sales.csv",
        "1,,A,10.00,",
        "2,A,B,4.00,false",
        "3,A,B,6.01,",  # one cent short
        "4,A,B,1.00,true",
        "5,A,B,zero,",
        "1,,A,10.00,",  # the same request again: a second sale, or one line twice?
        "1,,A,11.00,",  # its reference for another request
        "6,A",
    )
    code, summary, notes = run(installation, file, mapping_path)

    assert (code, notes) == (0, "")
    assert_adds_up(summary, 8)
    assert (summary["applied"], summary["inflight"], summary["duplicates"]) == (2, 1, 0)
    assert summary["refused_before_log"] == {
        "invalid_amount": 1, "reference_conflict": 2, "malformed": 1,
    }  # fmt: skip
    assert summary["refused_by_ledger"] == {"insufficient_funds": 1}
    rejects = read_rejects(installation.folder / summary["rejects_file"])
    assert {(r["rejected_line"], r["rejected_code"], r["rejected_reference"]) for r in rejects} == {
        ("4", "insufficient_funds", "sale-3"),
        ("6", "invalid_amount", "sale-5"),
        ("7", "reference_conflict", "sale-1"),
        ("8", "reference_conflict", "sale-1"),
        ("9", "malformed", ""),
    }
    assert [reject["rejected_line"] for reject in rejects] == ["4", "6", "7", "8", "9"]
    assert [reject["to"] for reject in rejects if reject["id"] == "3"] == ["B"]

    code, again, _ = run(installation, file, mapping_path, "--strict")

    assert code == 1
    assert_adds_up(again, 8)
    assert (again["applied"], again["inflight"], again["duplicates"]) == (0, 0, 4)
    assert again["refused_earlier"] == {"insufficient_funds": 1}
    assert sorted(read_rejects(installation.folder / again["rejects_file"]), key=str) == sorted(
        rejects, key=str
    )
    assert balances_by_key(installation) == {"A": 600, "B": 400}
    assert_proven(installation)


def test_a_file_that_has_the_newest_first(installation: Installation, tmp_path: Path) -> None:
    """Posted as it stands, a spend comes before its money, and a warning says so; or --reverse."""
    installation.workers(1)
    mapping = tmp_path / "days.toml"
    mapping.write_text(MAPPING + 'effective_date = { column = "hold" }\n')
    mapping.write_text(mapping.read_text().replace('inflight = "{hold}"\n', ""))
    lines = ("2,A,B,4.00,2026-03-02", "1,,A,10.00,2026-03-01")
    file = gzip.compress("\n".join([HEADER, *lines]).encode())
    path = installation.folder / "sales.csv.gz"
    path.write_bytes(file)

    code, summary, notes = run(installation, path, mapping, "--dry-run", "--strict")
    assert (code, summary["dates_backwards"], notes) == (0, 1, "")
    code, summary, notes = run(installation, path, mapping, "--reverse", "--strict")

    assert (code, summary["applied"], notes) == (0, 2, "")
    assert balances_by_key(installation) == {"A": 600, "B": 400}
    code, summary, notes = run(installation, path, mapping, "--strict")
    assert (code, summary["duplicates"], summary["dates_backwards"]) == (0, 2, 1)
    assert "Line 3 has an earlier date" in notes
    assert "--reverse" in notes
    assert_proven(installation)


JOURNAL = """
[ledger]
name = "Books"
[group]
by = "{entry}"
reference = "entry-{entry}"
[transaction]
reference = "entry-{entry}-{group_row}"
currency = "EUR"
amount = [
  { when = { debit = { empty = false } }, value = "{debit}" },
  { value = "{credit}" },
]
precision = 100
allow_overdraft = [{ when = { account = "Bank" }, value = true }]
source = [{ when = { debit = { empty = false } }, balance = "{account}" }]
destination = [{ when = { credit = { empty = false } }, balance = "{account}" }]
"""


def test_a_journal_is_posted_entry_by_entry(installation: Installation, tmp_path: Path) -> None:
    """Each whole or not at all, and every row of one that is not is in the rejects file."""
    installation.workers(1)
    mapping = tmp_path / "books.toml"
    mapping.write_text(JOURNAL)
    file = installation.folder / "books.csv"
    entries = ["1,Bank,90,", "1,Bank,10,", "1,Ann,,60", "1,Bob,,40"]  # money comes in
    entries += ["2,Ann,50,", "2,Bob,50,", "2,Rent,,100"]  # Bob has 40
    entries += ["3,Ann,5,", "3,Bob,5,", "3,Rent,,7", "3,Fees,,3"]
    part = ["4,Bank,5,", "4,Ann,,5"]  # it balances, but is not the whole
    entries += [*part, "5,Bank,1,", "5,Ann,,1", *part]
    file.write_text("\n".join(["entry,account,debit,credit", *entries]) + "\n")

    for applied, known in ((10, 0), (0, 13)):
        code, summary, _ = run(installation, file, mapping)
        assert (code, summary["applied"], summary["duplicates"]) == (0, applied, known)
        assert_adds_up(summary, 17)
        rejects = read_rejects(installation.folder / summary["rejects_file"])
        assert [int(reject["rejected_line"]) for reject in rejects] == [6, 7, 8, 13, 14, 17, 18]
        assert {reject["rejected_reference"] for reject in rejects[:3]} == {"entry-2"}
    keys = {"Bank": -10_100, "Ann": 5_600, "Bob": 3_500, "Rent": 700, "Fees": 300}
    assert balances_by_key(installation) == keys
    assert_proven(installation)


def read_rejects(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_rerun_posts_nothing_twice_when_redis_has_forgotten(
    installation: Installation, mapping_path: Path
) -> None:
    """After the retention of outcomes the ledger itself knows the duplicates."""
    installation.workers(1)
    lines = [f"{i},,A,1.00," for i in range(1, 301)] + ["301,B,A,5.00,"]
    file = write_csv(installation.folder / "sales.csv", *lines)
    code, _, _ = run(installation, file, mapping_path)
    assert code == 0
    for key in installation.redis.scan_iter("*outcome:*"):
        installation.redis.delete(key)

    code, again, _ = run(installation, file, mapping_path)

    assert (code, again["applied"], again["duplicates"]) == (0, 0, 301)
    assert again["refused_earlier"] == {"insufficient_funds": 1}
    assert balances_by_key(installation) == {"A": 30_000, "B": 0}
    assert_proven(installation)


def test_a_killed_run_is_finished_by_the_next(
    installation: Installation, mapping_path: Path
) -> None:
    """kill -9 in the middle of the file, then the same command: every line once, in order."""
    installation.workers(1)
    lines = [f"{i},,A{i % 7},1.00," for i in range(1, 6_001)]
    file = write_csv(installation.folder / "sales.csv", *lines)
    first = subprocess.Popen(
        [sys.executable, "-m", "daybook.cli", "backfill", str(file), "-m", str(mapping_path),
         "--rate", "400"],
        env=installation.environment, cwd=installation.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    posted = "SELECT count(*) FROM transactions WHERE subject IS NULL"
    wait_until(lambda: installation.rows(posted)[0][0] > 200, "the first run posts")
    first.send_signal(signal.SIGKILL)
    first.wait()
    installation.wait_applied()
    before = installation.rows(posted)[0][0]
    assert 200 < before < 6_000

    code, summary, _ = run(installation, file, mapping_path)

    assert (code, summary["duplicates"], summary["applied"]) == (0, before, 6_000 - before)
    rows = installation.rows(
        "SELECT destination, reference FROM transactions WHERE subject IS NULL "
        "ORDER BY position, partition, sequence"
    )
    for balance in {row[0] for row in rows}:
        numbers = [int(ref.removeprefix("sale-")) for dest, ref in rows if dest == balance]
        assert numbers == sorted(set(numbers))
    assert len(rows) == 6_000
    assert_proven(installation)


def test_ctrl_c_ends_with_a_summary(installation: Installation, mapping_path: Path) -> None:
    """An interrupted run says how far it came and that it can be run again."""
    lines = [f"{i},,A,1.00," for i in range(1, 2_001)]
    file = write_csv(installation.folder / "sales.csv", *lines)
    process = subprocess.Popen(
        [sys.executable, "-m", "daybook.cli", "backfill", str(file), "-m", str(mapping_path),
         "--rate", "100", "--no-wait"],
        env=installation.environment, cwd=installation.folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A run of the tests in the background of a shell ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_until(lambda: installation.open_entries() > 20, "the run sends")
    process.send_signal(signal.SIGINT)
    output, notes = process.communicate(timeout=60)
    assert (process.returncode, notes) == (130, "")
    assert "Running it again is safe" in output


def test_ndjson_comes_from_standard_input(installation: Installation, tmp_path: Path) -> None:
    """Lines of JSON through a pipe; rejects become NDJSON; a column that no line has is named."""
    installation.workers(1)
    mapping = tmp_path / "lines.toml"
    rounded = MAPPING.replace("precision = 100", "precision = 100\nrounding = '{round}'")
    mapping.write_text(rounded.replace('"{hold}"', '"{held}"'))
    lines = [
        '{"id": 1, "to": "A", "amount": 0.29}',
        '{"id": 2, "to": "A", "amount": 1.005, "round": "half_up"}',
        '{"id": 3, "to": "A", "amount": 12345678901234.567}',
        "{",
        '{"id": 5, "to": "A", "amount": 2.999}',
    ]
    code, summary, _ = run(installation, "-", mapping, "--format", "ndjson", input="\n".join(lines))
    assert (code, summary["applied"], summary["columns_never_seen"]) == (0, 2, ["from", "held"])
    assert balances_by_key(installation) == {"A": 29 + 101}
    rejects = installation.folder / "stdin.rejects.ndjson"
    told = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [reject["rejected_line"] for reject in told] == [3, 4, 5]
    assert "send 2.99 or 3, or set rounding to half_up" in told[2]["rejected_reason"]


def test_a_file_of_requests_needs_no_mapping(installation: Installation, tmp_path: Path) -> None:
    """Every kind in one file, in its order; a rerun posts nothing twice, and says so."""
    installation.workers(1)
    ledger, owner = f"ldg_{uuid4()}", f"idt_{uuid4()}"
    first, second = f"bln_{uuid4()}", f"bln_{uuid4()}"
    hold = mint_id("txn", slot_of(first))
    money = {"currency": "USD", "precise_amount": 100, "precision": 100}
    into = {**money, "source": "@World", "allow_overdraft": True}
    moved = {**money, "source": first, "destination": second}
    halves = [{"identifier": name, "distribution": "50%"} for name in (first, second)]
    good: list[dict[str, Any]] = [
        {"kind": "ledger", "ledger_id": ledger, "name": "Shop"},
        {"kind": "identity", "identity_id": owner, "first_name": "Ada"},
        {"kind": "balance", "ledger_id": ledger, "balance_id": first, "currency": "USD"},
        {"kind": "balance", "ledger_id": ledger, "balance_id": second, "currency": "USD"},
        {"kind": "change", "subject_id": first, "fields": {"identity_id": owner}, "reference": "c"},
        {"reference": "in", "destinations": halves, **into, "precise_amount": 1000},
        {"transactions": [{"reference": f"b{n}", **moved} for n in range(3)], "atomic": True},
        {"reference": "hold", "transaction_id": hold, "inflight": True, **moved},
        {"kind": "commit", "transaction_id": hold, "reference": "half", "precise_amount": 50},
        {"kind": "refund", "transaction_id": hold, "reference": "no refund"},
        {"reference": "later", "scheduled_for": "2200-01-01T00:00:00Z", **moved},
    ]
    bad: list[Any] = [
        {"kind": "commit", "transaction_id": hold},
        {"kind": "ledger", "name": "Another"},
        {"kind": "deadline", "transaction_id": hold},
        {"reference": "late", "effective_date": "2200-01-01T00:00:00Z", **moved},
        [],
    ]
    file = tmp_path / "requests.ndjson"
    file.write_text("\n".join(map(json.dumps, [*good, *bad])) + "\n")

    code, summary, _ = run(installation, file, None)

    counts = ("applied", "inflight", "scheduled", "duplicates", "refused_by_ledger")
    assert code == 0
    assert [summary[name] for name in counts] == [8, 1, 1, 0, {"not_refundable": 1}]
    assert summary["refused_before_log"] == {"malformed": 5}
    assert_adds_up(summary, 16)
    with (tmp_path / "requests.ndjson.rejects.ndjson").open() as rejects:
        told = [json.loads(line) for line in rejects]
    assert [(line["rejected_line"], line["rejected_reference"]) for line in told] == [
        (10, "no refund"), (12, ""), (13, ""), (14, ""), (15, "late"), (16, ""),
    ]  # fmt: skip
    assert "reference: is required in a file" in told[1]["rejected_reason"]
    figures = installation.rows("SELECT sum(credit_balance), count(*) FROM balances")
    assert_proven(installation)

    code, summary, _ = run(installation, file, None)

    assert [summary[name] for name in counts] == [0, 0, 0, 11, {}]
    assert summary["refused_earlier"] == {"not_refundable": 1}
    assert installation.rows("SELECT sum(credit_balance), count(*) FROM balances") == figures
    code, _, said = run(installation, write_csv(tmp_path / "x.csv"), None)
    assert (code, "give --mapping" in said) == (2, True)


def test_without_waiting_nothing_is_known_but_everything_is_queued(
    installation: Installation, mapping_path: Path
) -> None:
    """--no-wait returns without any worker; the outcomes come later."""
    file = write_csv(installation.folder / "sales.csv", *[f"{i},,A,1," for i in range(50)])
    code, summary, _ = run(installation, file, mapping_path, "--no-wait")
    assert (code, summary["unknown"], summary["applied"]) == (0, 50, 0)
    code, summary, _ = run(installation, file, mapping_path, "--no-wait")
    assert (code, summary["unknown"], summary["duplicates"]) == (0, 0, 50)
    installation.drain()
    assert balances_by_key(installation) == {"A": 5_000}


def test_without_a_worker_the_run_stops_and_says_what_to_do(
    installation: Installation, mapping_path: Path
) -> None:
    """When no outcome comes within the patience, the run ends with 3; nothing is lost."""
    file = write_csv(installation.folder / "sales.csv", "1,,A,1,")
    code, summary, _ = run(installation, file, mapping_path, "--patience", "1")
    assert (code, summary["unknown"], summary["complete"]) == (3, 1, False)
    assert "does a worker run?" in summary["stopped"]
    installation.drain()
    code, summary, _ = run(installation, file, mapping_path)
    assert (code, summary["duplicates"]) == (0, 1)


def test_bad_input_sends_nothing(installation: Installation, mapping_path: Path) -> None:
    """A mapping that does not fit the header, or a rejects file that is none: exit 2."""
    file = installation.folder / "sales.csv"
    file.write_text("id,to,amount,hold\n1,A,1,\n")
    code, _, notes = run(installation, file, mapping_path)
    assert code == 2
    assert "the header lacks from" in notes
    write_csv(file, "1,,A,1,")
    code, _, notes = run(installation, file, mapping_path, "--rejects", str(file))
    assert code == 2
    assert "is not a rejects file" in notes
    assert file.read_text().startswith(HEADER)
    assert installation.open_entries() == 0


def test_a_ledger_id_of_another_ledger_is_bad_input(
    installation: Installation, mapping_path: Path
) -> None:
    """The mapping's ledger must be the one that has its id."""
    installation.client.create_ledger("Other", ledger_id=ledger_id_of("Shop"))
    code, _, notes = run(
        installation, write_csv(installation.folder / "sales.csv", "1,,A,1,"), mapping_path
    )
    assert code == 2
    assert "not called 'Shop'" in notes


def test_a_dry_run_needs_no_server(tmp_path: Path, mapping_path: Path) -> None:
    """--dry-run judges every line without Redis, writes nothing and shows the first rejects."""
    file = write_csv(tmp_path / "sales.csv", "1,,A,1,", "2,,A,x,")
    before = sorted(tmp_path.iterdir())
    ended = subprocess.run(
        [sys.executable, "-m", "daybook.cli", "backfill", str(file), "-m", str(mapping_path),
         "--dry-run", "--json", "--strict"],
        env={"PATH": os.environ["PATH"], "DAYBOOK_REDIS_URL": "redis://127.0.0.1:1/0"},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    summary = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert (summary["valid"], summary["refused_before_log"]) == (1, {"invalid_amount": 1})
    assert "line 3: invalid_amount: amount: 'x' in column 'amount' is no number" in ended.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_not_there_is_bad_input_without_an_instance(
    tmp_path: Path, mapping_path: Path
) -> None:
    """FILE is looked at before the log is: exit 2 names it, exit 3 comes when it is fine."""
    write_csv(tmp_path / "sales.csv", "1,,A,1,")
    endings = {}
    for name in ("nope.csv", "sales.csv"):
        ended = subprocess.run(
            [daybook_program(), "backfill", name, "-m", str(mapping_path)],
            env={"PATH": os.environ["PATH"]},
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        endings[name] = (ended.returncode, ended.stderr.split(":")[1].strip())
    assert endings["nope.csv"] == (2, "nope.csv cannot be read")
    assert endings["sales.csv"][0] == 3


# The runner itself, with a real client and a clock that tests move


class MovedClock:
    """Time passes while someone sleeps; ``during`` is called then."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []
        self._during = during

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds
        self._during()

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep)


class Told:
    """What a run told: rejects and reasons to wait."""

    def __init__(self) -> None:
        self.rejects: list[Reject] = []
        self.said: list[str] = []


def runner(client: Client, told: Told, clock: MovedClock, **options: Any) -> Backfill:
    import tomllib

    builder = LineBuilder(check_mapping(tomllib.loads(MAPPING)))
    return Backfill(
        client, builder, reject=told.rejects.append, say=told.said.append, clock=clock.clock(),
        **options,
    )  # fmt: skip


def sales(count: int) -> Iterator[Row]:
    for number in range(1, count + 1):
        yield Row(number, {"id": str(number), "to": "A", "amount": "1"})


def test_a_full_log_is_waited_for(installation: Installation) -> None:
    """LogFull makes the run back off, say so, and go on in order when there is room."""
    installation.log.install(installation.partitions, 100, 0)
    told, clock = Told(), MovedClock(during=installation.drain)
    run = runner(installation.client, told, clock, patience_seconds=None)

    for _ in run.run(sales(450)):
        pass

    assert run.summary.stopped is None
    assert run.summary.unknown == 450
    assert len(told.said) >= 3
    assert "the log is full" in told.said[0]
    installation.drain()
    references = installation.rows(
        "SELECT reference FROM transactions WHERE subject IS NULL ORDER BY position"
    )
    assert references == [(f"sale-{n}",) for n in range(1, 451)]


def test_a_log_that_stays_full_stops_the_run(installation: Installation) -> None:
    """The retries are bounded; the run ends early and says that running it again is safe."""
    installation.log.install(installation.partitions, 100, 0)
    told, clock = Told(), MovedClock()
    run = runner(installation.client, told, clock)

    for _ in run.run(sales(450)):
        pass

    assert run.summary.stopped is not None
    assert "the log is full" in run.summary.stopped
    assert "Running it again is safe" in " ".join(run.summary.remarks())
    installation.drain()
    assert 0 < balances_by_key(installation)["A"] <= 100 * 100


def test_a_log_that_is_away_stops_the_run(installation: Installation) -> None:
    """LogUnavailable is retried a bounded number of times."""
    told, clock = Told(), MovedClock()
    away = {"redis_url": "redis://127.0.0.1:1/0", "retry_seconds_max": 0}
    settings = installation.settings.model_copy(update=away)
    with closing(Client(settings=settings)) as client:
        run = runner(client, told, clock)
        for _ in run.run(sales(10)):
            pass
    assert run.summary.stopped is not None
    assert len(told.said) == len(clock.sleeps) == 8
    assert run.summary.lines == 0


class LosesAnswers(Client):
    """The real client, but the answer to every other call is lost on the way."""

    calls = 0

    def enqueue_many(self, requests: Sequence[Any]) -> list[Receipt]:
        receipts = super().enqueue_many(requests)
        self.calls += 1
        if self.calls % 2:
            raise LogUnavailable("the connection broke before the answer")
        return receipts


def test_what_was_sent_twice_is_not_called_a_duplicate(installation: Installation) -> None:
    """After a lost answer the same lines are sent again: posted once, counted as applied."""
    told = Told()
    with closing(LosesAnswers(settings=installation.settings)) as client:
        run = runner(client, told, MovedClock(), lines_per_second=100.0)
        for _ in run.run(sales(50)):
            installation.drain()
    assert (run.summary.applied, run.summary.duplicates) == (50, 0)
    assert len(told.said) == 1 + 5
    assert balances_by_key(installation) == {"A": 5_000}


def test_the_rate_is_kept_and_outcomes_are_read_on_the_way(installation: Installation) -> None:
    """A slow run spreads its lines over time, and counts outcomes long before it ends."""
    clock = MovedClock()
    run = runner(installation.client, Told(), clock, lines_per_second=100.0)
    applied = []
    for summary in run.run(sales(200)):
        installation.drain()
        applied.append(summary.applied)
    assert sum(clock.sleeps) == pytest.approx(1.9)
    assert applied[len(applied) // 2] >= 50
    assert run.summary.applied == 200


class CountedCalls(Client):
    """The real client, which counts the requests of each call."""

    calls: tuple[int, ...] = ()

    def enqueue_many(self, requests: Sequence[Any]) -> list[Receipt]:
        self.calls += (len(requests),)
        return super().enqueue_many(requests)


def test_one_call_is_bounded_in_characters(installation: Installation) -> None:
    """Long lines, such as bulks, go to the log a few at a time."""
    told = Told()
    sale = {"source": "@World", "destination": "@Till", "currency": "EUR", "precise_amount": 1}
    sale["precision"] = 100
    long = "x" * (CHUNK_CHARACTERS_MAX // 4)
    rows = [Row(n, {"reference": f"sale-{n}", **sale}, content=long) for n in range(10)]
    with closing(CountedCalls(settings=installation.settings)) as client:
        run = Backfill(
            client, RequestLines(), reject=told.rejects.append, say=told.said.append,
            patience_seconds=None,
        )  # fmt: skip
        for _ in run.run(rows):
            pass
        assert client.calls == (4, 4, 2)
    assert run.summary.unknown == 10


def test_the_window_of_open_lines_is_bounded(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without outcomes no more lines are sent than the window holds."""
    monkeypatch.setattr("daybook.backfill.run.WINDOW_LINES_MAX", 300)
    monkeypatch.setattr("daybook.backfill.run.CHUNK_LINES_MAX", 100)
    run = runner(installation.client, Told(), MovedClock(), patience_seconds=0.0)
    for _ in run.run(sales(10_000)):
        pass
    assert run.summary.unknown == 300
    assert run.summary.stopped is not None


class CountsBalances(Client):
    """The real client, which counts the creations of balances that go through it."""

    balances = 0

    def enqueue_many(self, requests: Sequence[Any]) -> list[Receipt]:
        self.balances += sum(isinstance(request, BalanceRequest) for request in requests)
        return super().enqueue_many(requests)


def test_a_forgotten_balance_is_created_again_without_harm(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balances are remembered up to a bound; creating one again changes and counts nothing."""
    monkeypatch.setattr("daybook.backfill.run.BALANCES_REMEMBERED_MAX", 2)
    rows = [Row(n, {"id": str(n), "to": f"B{n % 5}", "amount": "1"}) for n in range(1, 51)]
    with closing(CountsBalances(settings=installation.settings)) as client:
        run = runner(client, Told(), MovedClock(), patience_seconds=None)
        for _ in run.run(rows):
            pass
        assert client.balances == 50
    assert run.summary.balances_created == 5
    installation.drain()
    assert balances_by_key(installation) == {f"B{n}": 1_000 for n in range(5)}


def test_the_examples_name_the_ids_that_rows_have(installation: Installation) -> None:
    """A balance is found by the id that follows from ledger and key."""
    builder = LineBuilder(load_mapping(EXAMPLES / "token-openings.toml"))
    run = Backfill(
        installation.client, builder, reject=Told().rejects.append, say=print,
        patience_seconds=None,
    )  # fmt: skip
    for _ in run.run([Row(2, {"token": "0xt", "address": "0xb", "value": "9" * 78})]):
        pass
    installation.drain()
    balance_id = balance_id_of(ledger_id_of("Token holders"), "0xt/0xb")
    figure = installation.client.status(reference="opening-0xt-0xb")
    assert figure.status == "APPLIED"
    assert installation.rows(
        "SELECT credit_balance FROM balances WHERE balance_id = %s", balance_id[4:]
    ) == [(10**78 - 1,)]
