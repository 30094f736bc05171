"""What the command line says when something is wrong: the fault, in the words that were typed."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import psycopg
import pytest
import structlog
from sqlalchemy import QueuePool, create_engine
from typer.testing import CliRunner, Result

import daybook
from daybook.cli.commands import app
from daybook.cli.exits import Exit, code_of, show_error
from daybook.cli.output import escape_what_streams_cannot_write, print_table
from daybook.cli.showing import side_of, status_of
from daybook.cli.trial_balance import _print
from daybook.cli.wiring import _tell_misspelt
from daybook.counting import counted
from daybook.errors import LogRefused, StoreRefused, StoreUnavailable
from daybook.ledger.balance import internal_balance_id
from daybook.settings import current
from daybook.store.engine import translated_faults
from daybook.store.read.called import NAMELESS, Called, told_in
from daybook.store.read.trial_balance import SumView, TrialBalanceView
from daybook.store.read.views import HoldView

SOCKET = 'connection to server on socket "/run/.s.PGSQL.5432"'
HOLD = "txn_0198a1b2-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No server is asked: the log's address leads nowhere."""
    monkeypatch.setenv("DAYBOOK_HOME", str(tmp_path))
    monkeypatch.setenv("DAYBOOK_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("DAYBOOK_RETRY_SECONDS_MAX", "0")
    monkeypatch.delenv("DAYBOOK_DATABASE_URL", raising=False)
    current.cache_clear()
    yield
    current.cache_clear()
    structlog.reset_defaults()  # the command line logs to a stderr that is gone


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (f'connection failed: {SOCKET} failed: FATAL:  database "x" does not exist', StoreRefused),
        (f"connection failed: {SOCKET} failed: ВАЖНО:  пользователь не прошёл", StoreRefused),
        (f"connection failed: {SOCKET} failed: FATAL:  the database system is starting up", None),
        (f"connection failed: {SOCKET} failed: FATAL:  sorry, too many clients already", None),
        (f"connection failed: {SOCKET} failed: Connection refused", None),
        ("failed to resolve host 'nohost': Name or service not known", None),
        (f"connection failed: {SOCKET} failed: fe_sendauth: no password supplied", StoreRefused),
    ],
)
def test_what_postgres_refuses_is_no_outage(said: str, kind: type[Exception] | None) -> None:
    """A user, a password or a database that is wrong is told apart from a server that is away."""
    with pytest.raises(StoreUnavailable) as raised, translated_faults():
        raise psycopg.OperationalError(said)
    assert type(raised.value) is (kind or StoreUnavailable)


@pytest.mark.parametrize(
    ("said", "meant", "mend"),
    [
        (
            "failed: fe_sendauth: no password supplied",
            "it asks for a password, and the address has none",
            "next: write it as postgresql://user:password@host/db, in DAYBOOK_DATABASE_URL",
        ),
        (
            "failed: server does not support SSL, but SSL was required",
            "the address asks for TLS, and this server has none",
            "next: have the server speak TLS, or change sslmode, in DAYBOOK_DATABASE_URL",
        ),
        (
            "failed: SSL error: certificate verify failed",
            "its certificate is not trusted: certificate verify failed",
            "next: name the authority that signed it with sslrootcert, in DAYBOOK_DATABASE_URL",
        ),
        (
            'failed: root certificate file "/no.pem" does not exist',
            'certificate is not trusted: certificate file "/no.pem" does not exist',
            "next: name the authority that signed it with sslrootcert, in DAYBOOK_DATABASE_URL",
        ),
        (
            'invalid sslmode value: "on"',
            'the address is wrong: invalid sslmode value: "on"',
            "next: correct it, in DAYBOOK_DATABASE_URL",
        ),
    ],
)
def test_an_address_that_cannot_work_says_why(
    said: str, meant: str, mend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the driver itself refuses has a next step of its own: the server is there."""
    with pytest.raises(StoreRefused) as raised, translated_faults():
        raise psycopg.OperationalError(f"connection failed: {SOCKET} {said}")
    show_error(raised.value)
    told = capsys.readouterr().err
    assert meant in told
    assert mend in told


def test_a_misspelt_setting_is_told_once_and_before_all_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On stderr, by each command, also where it then lacks an address."""
    monkeypatch.setenv("DAYBOOK_DATABSE_URL", "postgresql://h/db")
    _tell_misspelt.cache_clear()
    result = run("balances")
    said = "warning: DAYBOOK_DATABSE_URL is no setting: did you mean DAYBOOK_DATABASE_URL?\n"
    assert result.stderr.startswith(said + "error: DAYBOOK_DATABASE_URL is not set")
    assert result.stderr.count("did you mean") == 1
    _tell_misspelt.cache_clear()


def test_status_and_health_say_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every command does: they are asked when something is wrong."""
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", "postgresql://127.0.0.1:1/db")
    result = run("status")
    step = "is it running, and are host and port in DAYBOOK_"
    assert result.exit_code == Exit.UNAVAILABLE
    assert result.stderr.count(f"\nnext: {step}") == 2
    found = json.loads(run("health", "--json").stdout)
    told = {check["name"]: check["detail"] for check in found["checks"]}
    assert f"{step}REDIS_URL right?" in told["log"]
    assert f"{step}DATABASE_URL" in told["database"]


def test_a_pool_without_a_free_connection_is_an_outage() -> None:
    """SQLAlchemy's own time-out, which is no error of the driver."""
    engine = create_engine(
        "sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    said = "all connections of this process are in use"
    with engine.connect(), pytest.raises(StoreUnavailable, match=said), translated_faults():
        engine.connect()
    engine.dispose()


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        (StoreRefused("Postgres refused: …"), "mend the user, the password or the database"),
        (LogRefused("Redis refused: …"), "mend the user, the password or the database"),
        (StoreUnavailable("Postgres: …"), "is it running, and are host and port in DAYBOOK_DATA"),
    ],
)
def test_the_next_step_fits_the_fault(
    fault: Exception, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has a wrong password is not asked whether the server runs."""
    show_error(fault)  # type: ignore[arg-type]
    assert f"next: {hint}" in capsys.readouterr().err
    assert code_of(fault) == Exit.UNAVAILABLE  # type: ignore[arg-type]


def test_an_argument_that_is_not_utf_8_is_named() -> None:
    """What the shell gave as other bytes is bad input, and no traceback."""
    result = run("balances", "--currency", "\udcff")
    assert (result.exit_code, r"\xff is not UTF-8" in result.output) == (Exit.BAD_INPUT, True)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """An instance that can't be looked for is said, and not called absent."""
    (tmp_path / "supervisor.lock").mkdir()
    result = run("balances")
    assert (result.exit_code, "can't be read" in result.output) == (Exit.UNAVAILABLE, True)


def test_a_fault_of_the_system_is_one_line(tmp_path: Path) -> None:
    """A path that can't be used is named with the system's reason."""
    (tmp_path / "supervisor.lock").symlink_to(tmp_path / "supervisor.lock")
    result = run("status")
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == Exit.UNAVAILABLE


def test_output_is_escaped_where_its_encoding_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ASCII has not is written as in JSON, so that JSON stays JSON."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    escape_what_streams_cannot_write()
    print('"Zoë 😀"', flush=True)
    assert json.loads(written.getvalue()) == "Zoë 😀"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["commit", HOLD, "--precise-amount", "x"], "--precise-amount: must be an integer"),
        (
            ["statement", "@A", "--from", "2025-01-01", "--to", "2024-01-01"],
            "--to: 2024-01-01 lies before --from, 2025-01-01: turn the two around",
        ),
        (["commit", HOLD, "--amount", "1", "--precise-amount", "1"], "--amount: either amount or"),
        (["enqueue", "--source", "@A", "--id", "x"], "--id: must"),
        (["enqueue", '{"precise_amount": "x"}', "--source", "@A"], "precise_amount: must be an"),
        (["ledger", "rename", "x", "New"], "LEDGER: must"),
        (["enqueue", "--source", "@A", "--to", "@B=x"], "--to[0].distribution: must"),
    ],
)
def test_errors_name_what_was_typed(words: list[str], said: str) -> None:
    """A field is called as the option or argument that gave it; of JSON, as it is there."""
    result = run(*words)
    assert (result.exit_code, said in result.output) == (Exit.BAD_INPUT, True), result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("transactions --bogus", "--bogus: no such option"),
        ("transactions --limt 5", "--limt: no such option; did you mean --limit or --meta?"),
        ("transactions --limit", "--limit: needs a value"),
        ("transactions --limit 0", "--limit: must be a number from 1 to 10,000"),
        ("transactions --limit x", "--limit: must be a number from 1 to 10,000"),
        ("transactions --status x", "--status: 'x' is not one of 'applied', 'inflight'"),
        ("transactions more", "got unexpected extra argument"),
        ("balance show @X --at foo", "--at: foo is not a date like 2026-04-22"),
        ("ledger rename", "LEDGER: is required"),
        ("ledger create", "NAME: is required"),
        ("nonsense", "no such command 'nonsense'"),
        ("--nonsense", "--nonsense: no such option"),
    ],
)
def test_the_parser_speaks_as_all_else(words: str, said: str) -> None:
    """One line that names what was typed, and the next step: no second form of an error."""
    result = run(*words.split())
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"error: {said}"), result.stderr
    assert len(lines) <= 2
    assert all(line.startswith("next: see `") and line.endswith("--help`") for line in lines[1:])
    assert (result.exit_code, result.stdout) == (Exit.BAD_INPUT, "")


def test_a_group_alone_shows_its_help() -> None:
    """And no error."""
    result = run("ledger")
    assert "Usage:" in result.output
    assert "error" not in result.output


def test_a_list_of_nothing_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """No bare head of a table."""
    print_table(("id", "reference"), [], empty="Nothing is quarantined.")
    assert capsys.readouterr().out == "Nothing is quarantined.\n"


def test_a_narrow_terminal_folds_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many columns in a line as fit; ids and amounts stay whole. A pipe is as wide as needed."""
    columns, row = ("id", "name", "memo", "amount"), (HOLD, "Zoë " * 5, "q" * 95, "12.30")
    print_table(columns, [row, (HOLD, "", "", "1234567.00")], right=("amount",))
    assert max(map(len, capsys.readouterr().out.splitlines())) > 160
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no bold heads
    print_table(columns, [row, (HOLD, "", "", "1234567.00")], right=("amount",))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if "id" in line] == [["id", "name"]]
    assert sum(line.startswith(f" {HOLD}") for line in lines) == 2
    assert [line for line in lines if line.endswith("00") or "12.30" in line] == [
        "        12.30",
        "   1234567.00",
    ]
    assert "".join(lines).count("q") == 95


@pytest.mark.parametrize(
    ("external_id", "shown"),
    [
        *((name, name) for name in ("alice", "b@x.org", "Bln", "＃1")),
        *((name, HOLD) for name in ("@World", "bln_x", "txn_1", "x" * 65, " ")),
        *(
            (name, HOLD)
            for name in ("＠World", "﹫World", " @World", "Bln_1", "ｂｌｎ＿1", "𝐁𝐥𝐧_1")
        ),
        *((name, HOLD) for name in ("BULK_1", "General_Ledger_Id", "\u00a0@World")),
    ],
)
def test_a_side_is_called_as_a_command_takes_it(external_id: str, shown: str) -> None:
    """No external_id passes for the name of an internal balance, or for an id, in any width."""
    view = SimpleNamespace(other=HOLD, other_indicator=None, other_external_id=external_id)
    assert side_of(view, "other") == shown
    view.other_indicator = "@Sales"
    assert side_of(view, "other") == "@Sales"


def test_one_long_cell_moves_no_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands below, whole, with a mark in its place; what people look for stands in front."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [(HOLD, "r1", "alice", "1.00"), (HOLD, "r2", "b", "20.00"), (HOLD, "r3", HOLD, "3.00")]
    columns = ("id", "reference", "who", "amount")
    print_table(columns, rows, right=("amount",), later=("reference", "id"))
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert [line[1:].rstrip() for line in text.splitlines()][1:-1] == [
        "who    amount  reference",
        "  id",
        "─" * 42,
        "alice    1.00  r1",
        f"  {HOLD}",
        "b       20.00  r2",
        f"  {HOLD}",
        "…        3.00  r3",
        f"  {HOLD}",
        f"  {HOLD}",
    ]


def test_no_table_is_wider_than_its_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its columns add up to, edges and gaps included, and nothing of a cell is lost."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    for widths in ((20, n, m) for n in range(1, 50) for m in (5, 15)):
        print_table(tuple("abc"), [tuple("xyz"[place] * n for place, n in enumerate(widths))] * 3)
        text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert max(map(len, text.splitlines())) <= 60, widths
        assert [text.count(char) for char in "xyz"] == [3 * n for n in widths]


def test_ledgers_are_called_by_name_and_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Two of one name have their ids beside it, and no name passes for an id."""
    names = {"ldg_1": "Shops", "ldg_2": "Clients", "ldg_3": "Clients", "ldg_4": "Ldg_1"}
    figures = (100, 2, 5, 5, 0, "0.05")
    sums = [SumView(name, ledger, "USD", *figures) for ledger, name in names.items()]
    view = TrialBalanceView(None, None, 0, (), tuple(sums), (), ())
    _print(view, exists=True)
    lines = [line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-5:-1] == ["Shops", "Clients (ldg_2)", "Clients (ldg_3)", "ldg_4"]


@pytest.mark.parametrize(
    ("committed", "voided", "shown"),
    [
        (0, 0, "INFLIGHT"),
        (200, 0, "INFLIGHT 8.00 left"),
        (1000, 0, "INFLIGHT committed"),
        (0, 1000, "INFLIGHT voided"),
        (250, 750, "INFLIGHT 2.50 committed"),
    ],
)
def test_a_hold_that_is_over_is_seen_in_a_list(committed: int, voided: int, shown: str) -> None:
    """Its record stays INFLIGHT: what became of it stands behind that."""
    hold = HoldView(1000, committed, voided, 1000 - committed - voided, 1)
    assert status_of(SimpleNamespace(status="INFLIGHT", reason=None, precision=100, hold=hold)) == (
        shown
    )


def test_a_rejection_tells_who_was_never_created() -> None:
    """The names in its detail are those of its balances when the ids follow from them."""
    sales, other = (
        UUID(internal_balance_id(name, "USD").removeprefix("bln_")) for name in ("@Sales", "@X")
    )
    for text in (
        "cancelled by txn_1; the money was to go from @A to @Sales",
        "source: @A has 1 available, 2 needed for @Sales (minor units)",
        "source: @A would stand at -2 if it paid @Sales, its limit is -1 (minor units)",
    ):
        row = SimpleNamespace(source=other, destination=sales, currency="USD")
        assert dict(told_in([(row, text)], {})) == {sales: Called("@Sales", None)}
        assert dict(told_in([(row, text)], {sales: NAMELESS})) == {}


def test_one_is_counted_as_one() -> None:
    """A line, and two lines."""
    assert [counted(n, "line") for n in (1, 2_000)] == ["1 line", "2,000 lines"]


COUNTED = re.compile(
    r"(?<!of )\{(?!(?:key|home)\}|[^{}]*_MAX)[^{}]+\} (older )?"
    r"(balance|column|customer|deadline|error|hold|line|partition|record|request|schedule|"
    r"transaction|violation|worker)s\b(?! more|: if)"
)


def test_what_is_counted_is_counted_in_one_way() -> None:
    """No message says "1 holds": a number that may be one stands with its noun in ``counted``."""
    for path in Path(daybook.__file__).parent.rglob("*.py"):
        assert COUNTED.findall(path.read_text(encoding="utf-8")) == [], path
