"""A ledger travels as a file: the same on the other side, or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from tests.harness import Cluster, Installation
from tests.integration.whole import fill_whole

from daybook.errors import ConfigError
from daybook.store.epochs import StoredEpoch
from daybook.store.proof.verify import verify
from daybook.store.schema import REGISTRY_TABLES, metadata
from daybook.store.transfer.exporting import DERIVED_TABLES, TABLES, export_ledger
from daybook.store.transfer.importing import _FIELDS, import_ledger

Edit = Callable[[list[bytes]], list[bytes]]


@pytest.fixture(scope="module")
def source(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A ledger with some of everything, which no test changes."""
    installation = Installation(cluster, 2, tmp_path_factory.mktemp("source"))
    fill_whole(installation)
    installation.rows(
        "INSERT INTO rejected_requests (partition, position, request_id, uses_reference, reason, "
        "detail, body, traceback) VALUES (1, 7, 'txn_x', false, 'malformed', E'tab\\tand \\\\', "
        "'\\x00ff', E'two\\nlines')"
    )
    installation.rows(
        "INSERT INTO deferred_entries (partition, position, slot, request_id, may_credit, flags, "
        """body) VALUES (1, 8, 9, 'y', ARRAY['a', 'b "c" \\ , d', '', 'NULL'], 'w', '{}'), """
        "(1, 9, 9, 'z', '{}', '', '{}')"
    )
    installation.rows(
        "UPDATE partitions SET cursor = (SELECT max(position) FROM transactions) + partition, "
        'batch = 3, batch_outcomes = \'{"a":"\\\\n"}\', applied_at = now()'
    )
    installation.rows(
        "INSERT INTO accounts SELECT gen_random_uuid(), E'00\\t01', 'First', '', currency, "
        """balance_id, ledger_id, identity_id, now(), '{"n": 1.10}' FROM balances LIMIT 1"""
    )
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def empty(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An empty ledger, for imports that fail."""
    installation = Installation(cluster, 3, tmp_path_factory.mktemp("empty"))
    yield installation
    installation.close()


def exported(installation: Installation) -> list[bytes]:
    lines: list[bytes] = []
    report = export_ledger(installation.engine, lines.append)
    assert report.lines == len(lines)
    return lines


def imported(installation: Installation, lines: list[bytes]) -> list[tuple[StoredEpoch, int]]:
    """Import lines; what the log was told."""
    installed: list[tuple[StoredEpoch, int]] = []
    import_ledger(
        installation.owner, io.BytesIO(b"".join(lines)), lambda *given: installed.append(given)
    )
    return installed


def test_an_imported_ledger_is_the_same(
    source: Installation, install_daybook: Callable[[int], Installation]
) -> None:
    """Balances, chains and everything else arrive unchanged, whatever the partitions were."""
    target = install_daybook(5)
    lines = exported(source)

    installed = imported(target, lines)

    ((newest,),) = source.rows("SELECT max(cursor) FROM partitions")
    assert installed == [(StoredEpoch(1, 2, 0), newest)]
    assert exported(target) == lines
    taken = "SELECT * FROM taken_references ORDER BY reference"
    assert target.rows(taken) == source.rows(taken) != []
    report = verify(target.engine)
    assert report.violations == []
    assert report.heads == verify(source.engine).heads
    assert target.rows("SELECT count(*) FROM partitions") == [(2,)]


def test_every_row_of_every_table_travels(source: Installation) -> None:
    """The counts of the first line are those of the tables; what is left out is derived anew."""
    header = json.loads(exported(source)[0])
    assert header["counts"].keys() == {table.name for table in TABLES}
    derived = {table.name for table in DERIVED_TABLES}
    beside = {table.name for table in REGISTRY_TABLES}
    assert metadata.tables.keys() == header["counts"].keys() | derived | beside
    assert beside - header["counts"].keys() == {"api_keys"}
    for table, count in header["counts"].items():
        assert source.rows(f"SELECT count(*) FROM {table}") == [(count,)]
        assert count > 0, table


def test_numbers_are_exact(source: Installation) -> None:
    """No line holds a number that a float would have to hold."""

    def refuse(text: str) -> None:
        raise AssertionError(text)

    for line in exported(source):
        json.loads(line, parse_float=refuse, parse_constant=refuse)


def test_the_fields_of_a_record_are_the_columns_in_their_order() -> None:
    """So that a row of the file becomes the record that was hashed."""
    renamed = {
        "parent_transaction": "parent_id", "source": "source_id", "destination": "destination_id",
        "effective_date": "effective_micros", "subject": "subject_id",
        "inflight_expiry_date": "expires_micros", "inflight_commit_date": "commits_micros",
        "scheduled_for": "scheduled_micros",
    }  # fmt: skip
    from daybook.ledger.record import Record

    assert tuple(renamed.get(name, name) for name in _FIELDS) == Record._fields


def at(table: str, change: Callable[[dict[str, Any]], object], *, index: int = 0) -> Edit:
    """An edit of one line of a table, with the sum at the end made to fit."""

    def edit(lines: list[bytes]) -> list[bytes]:
        place = [n for n, line in enumerate(lines) if json.loads(line).get("table") == table][index]
        row = json.loads(lines[place])
        change(row)
        lines[place] = json.dumps(row).encode() + b"\n"
        return sealed(lines[:-1])

    return edit


def sealed(lines: list[bytes]) -> list[bytes]:
    """Lines with a last line that fits."""
    end = {"daybook": "end", "lines": len(lines), "sha256": sha256(b"".join(lines)).hexdigest()}
    return [*lines, json.dumps(end).encode() + b"\n"]


def header(**more: Any) -> Edit:
    return lambda lines: sealed(
        [json.dumps(json.loads(lines[0]) | more).encode() + b"\n", *lines[1:-1]]
    )


def number_of(lines: list[bytes], table: str, index: int = 0) -> int:
    return [n for n, line in enumerate(lines, 1) if json.loads(line).get("table") == table][index]


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda lines: [], "line 1: is not the first line"),
        (lambda lines: [b"[]\n"], "line 1: is not a JSON object"),
        (lambda lines: [b"PK\x03\x04\xff\n"], "line 1: is not JSON"),
        (lambda lines: lines[1:], "line 1: is not the first line"),
        (header(version=1), "line 1: has format 1, this version reads 2"),
        (header(counts={}), "line 1: does not say what the file holds"),
        (header(heads=[]), "the chain of partition 0 ends elsewhere than line 1 says"),
        (lambda lines: lines[:-1], "is missing: the file was cut off"),
        (lambda lines: [*lines[:-1], lines[-1][:40]], "ends early: the file was cut off"),
        (lambda lines: [*lines, b"{}\n"], "comes after the last line"),
        (
            lambda lines: [*lines[:3], lines[3].replace(b"}", b" }"), *lines[4:]],
            "a line before this one is not what was exported",
        ),
        (lambda lines: sealed(lines[:-2]), "there are not as many rows as line 1 says"),
        (
            lambda lines: sealed([*lines[:2], *lines[3:-1]]),
            "as many rows as line 1 says|does not fit",
        ),
        (
            lambda lines: sealed([*lines[:-1], lines[1]]),
            "names a table that is not expected here",
        ),
        (at("balances", lambda row: row.update(table="alembic_version")), "is not expected here"),
        (at("balances", lambda row: row.update(version=1.0)), "not JSON with whole numbers"),
        (at("balances", lambda row: row.update(version="1")), "version: must be a whole number"),
        (at("balances", lambda row: row.update(version=True)), "version: must be a whole number"),
        (at("balances", lambda row: row.update(color="red")), "a field that is not known: color"),
        (at("balances", lambda row: row.update(balance_id="bln_x")), "balance_id: must be an id"),
        (at("balances", lambda row: row.update(currency="a\0b")), "currency: must be a text"),
        (at("balances", lambda row: row.update(fingerprint="xyz")), "must be hexadecimal"),
        (at("balances", lambda row: row.update(meta_data="{")), "balances from here on .* json"),
        (at("balances", lambda row: row.update(ledger_id="ldg_x")), "balances from here on"),
        (at("balances", lambda row: row.update(version=10**30)), "balances from here on"),
        (at("snapshots", lambda row: row.update(moment="soon")), "must be a moment in UTC"),
        (at("snapshots", lambda row: row.update(moment="soonZ")), "moment: Invalid isoformat"),
        (
            at("deferred_entries", lambda row: row.update(may_credit=[1])),
            "may_credit: must be texts",
        ),
        (
            at("rejected_requests", lambda row: row.update(uses_reference=1)),
            "must be true or false",
        ),
        (
            at(
                "rejected_requests",
                lambda row: row.update(reference="deposit-0", uses_reference=True),
            ),
            r"a reference is used twice in the file: .*\(deposit-0\)",
        ),
        (at("epochs", lambda row: row.update(partitions=7)), "partitions are not as many"),
        (at("transactions", lambda row: row.pop("hash")), "has no hash"),
    ],
)
def test_a_file_that_is_not_what_was_exported_is_refused(
    source: Installation, empty: Installation, edit: Edit, why: str
) -> None:
    """It is said which line is wrong, and nothing is left behind."""
    with pytest.raises(ConfigError, match=rf"line \d+: .*({why.removeprefix('line 1: ')})"):
        imported(empty, edit(exported(source)))
    assert empty.rows("SELECT count(*) FROM transactions") == [(0,)]
    assert empty.rows("SELECT partitions FROM installation") == [(3,)]


@pytest.mark.parametrize(
    "change",
    [
        {"precise_amount": 1},
        {"description": "other"},
        {"reference": "other"},
        {"effective_date": "2020-01-01T00:00:00.000001Z"},
        {"meta_data": "{}"},
        {"hash": "00" * 32},
        {"parent_transaction": "txn_00000000-0000-4000-8000-000000000000"},
        {"overdraft_limit": "1.50"},
        {"scheduled_for": "2020-01-01T00:00:00.000001Z"},
    ],
)
def test_an_edited_record_is_named_by_its_line(
    source: Installation, empty: Installation, change: dict[str, Any]
) -> None:
    """The chain shows an edit of a record, also when the sum at the end was made to fit."""
    lines = exported(source)
    line = number_of(lines, "transactions", 20)
    edit = at("transactions", lambda row: row.update(change), index=20)
    with pytest.raises(ConfigError, match=rf"line {line}: partition 0, sequence 21 is not what"):
        imported(empty, edit(lines))


def test_a_missing_record_is_named_by_the_next_line(
    source: Installation, empty: Installation
) -> None:
    """The numbers of the records have no gap."""
    lines = exported(source)
    line = number_of(lines, "transactions", 20)
    with pytest.raises(ConfigError, match=rf"line {line}: .* sequence 22 follows 20"):
        imported(empty, sealed([*lines[: line - 1], *lines[line:-1]]))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE partitions SET cursor = 1",
        "INSERT INTO balances (balance_id, ledger_id, currency) "
        "VALUES (gen_random_uuid(), 'general_ledger_id', 'USD')",
        "INSERT INTO rejected_requests (partition, position, request_id, uses_reference, reason, "
        "body) VALUES (0, 1, 'x', false, 'malformed', '')",
        "INSERT INTO taken_references VALUES ('x')",
    ],
)
def test_only_an_empty_ledger_is_filled(
    source: Installation, installation: Installation, statement: str
) -> None:
    """Whatever has happened in a ledger, nothing is imported over it."""
    installation.rows(statement)
    with pytest.raises(ConfigError, match="this ledger is not empty"):
        imported(installation, exported(source))


def test_a_log_that_cannot_be_told_leaves_nothing(
    source: Installation, empty: Installation
) -> None:
    """The ledger is filled only together with a log that goes on behind it."""

    def fail(epoch: StoredEpoch, newest: int) -> None:
        raise ConfigError("no log")

    with pytest.raises(ConfigError, match="no log"):
        import_ledger(empty.owner, io.BytesIO(b"".join(exported(source))), fail)
    assert empty.rows("SELECT count(*) FROM balances") == [(0,)]


def test_the_commands_move_a_ledger_that_goes_on(
    install_daybook: Callable[[int], Installation],
) -> None:
    """Exported by one command, imported by the other; then what is new is posted behind it."""
    source, target = install_daybook(2), install_daybook(1)
    client = source.client
    balance = client.create_balance(client.create_ledger("Customers").id, "USD").id
    deposit: Any = {"destination": balance, "source": "@World", "currency": "USD", "amount": "1"}
    deposit["precision"] = "100"
    client.enqueue(reference="first", allow_overdraft=True, **deposit)
    source.drain()
    file = source.folder / "ledger.ndjson"

    written = source.run("export", str(file), "--json")
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["counts"]["balances"] == 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(source.folder).count("ledger.ndjson.partial") == 0
    piped = source.run("export")
    assert piped.stdout == file.read_text()
    assert source.run("export", str(file)).returncode == 2

    taken = target.run("import", str(file))
    assert taken.returncode == 0, taken.stderr
    assert "daybook verify" in taken.stdout
    assert target.log.partitions() == 2
    target.partitions = 2
    again = target.client.enqueue(reference="first", allow_overdraft=True, **deposit)
    target.client.enqueue(reference="second", allow_overdraft=True, **deposit)
    target.drain()
    assert target.client.status(reference="first").transaction_id != again.id
    ((credit,),) = target.rows(
        "SELECT credit_balance FROM balances WHERE balance_id = %s", balance[4:]
    )
    assert credit == 200
    assert verify(target.engine).violations == []
    refused = target.run("import", str(file))
    assert refused.returncode == 2
    assert "not empty" in refused.stderr
