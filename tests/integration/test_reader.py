"""``daybook.Reader``: what the command line shows, from Python, by a role that may only read."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from tests.harness import Installation
from typer.testing import CliRunner

import daybook
from daybook.cli import tail
from daybook.cli.commands import app
from daybook.errors import MalformedRequest, NotFound, StoreUnavailable
from daybook.ledger.balance import internal_balance_id
from daybook.settings import current
from daybook.store.read.tail import cursor_text, moved_on, read_cursor


def of_money(**fields: Any) -> dict[str, Any]:
    """A transaction of 10.00 from outside."""
    return {
        "source": "@World",
        "currency": "USD",
        "amount": "10.00",
        "precision": 100,
        "allow_overdraft": True,
        **fields,
    }


@pytest.fixture
def reader_url(installation: Installation) -> Iterator[str]:
    """The address of a login that may only read."""
    name = f"{make_url(installation.owner_url).database}_reader"
    installation.rows(f"CREATE ROLE {name} LOGIN PASSWORD 'reads' IN ROLE daybook_reader")
    url = make_url(installation.owner_url).set(username=name, password="reads")
    yield url.render_as_string(hide_password=False)
    installation.rows(f"DROP ROLE {name}")


def test_a_reader_shows_what_the_ledger_knows(installation: Installation, reader_url: str) -> None:
    """Balances, history and transactions, by every name, and with no right to write."""
    client = installation.client
    anna = client.create_balance("general_ledger_id", "USD", meta_data={"external_id": "anna"}).id
    for name in ("@Nobody", "bln_x"):  # no external_id is mistaken for another name
        meta_data = {"external_id": internal_balance_id(name, "USD") if name[0] == "@" else name}
        client.create_balance("general_ledger_id", "USD", meta_data=meta_data)
    client.enqueue(of_money(reference="first", destination=anna))
    client.enqueue(of_money(reference="held", destination=anna, inflight=True))
    installation.drain()
    with daybook.Reader(reader_url) as reader:
        names = [reader.balance("anna"), reader.balance(anna)]
        assert {each.balance_id for each in names} == {anna}
        assert reader.balance("@World", currency="USD").balance == -1000
        assert reader.balance_at("anna", datetime.now(UTC) - timedelta(days=1)).balance == 0
        statement = reader.statement("anna")
        (line,) = statement.lines
        assert (line.other_indicator, line.other_external_id) == ("@World", None)
        (line,) = reader.statement("@World", currency="USD").lines
        assert (line.other_indicator, line.other_external_id) == (None, "anna")
        assert (statement.opening, statement.closing) == (0, 1000)
        with reader.stream_statement("anna") as lines:
            assert [line.reference for line in lines] == ["first"]
        assert [total.balance for total in reader.trial_balance().currencies] == [0]
        assert reader.transaction(reference="first").status == "APPLIED"
        listed = reader.transactions(balance_id=anna)
        assert [each.source_indicator for each in listed] == ["@World", "@World"]
        assert [each.destination_external_id for each in listed] == ["anna", "anna"]
        (hold,) = reader.holds()
        assert (hold.reference, hold.source_indicator) == ("held", "@World")
        assert (hold.source_external_id, hold.destination_external_id) == (None, "anna")
        assert [each.ledger_id for each in reader.ledgers()] == ["general_ledger_id"]
        assert [each.kind for each in reader.changes(anna)] == ["balance"]
        assert (reader.schedules(), reader.identities()) == ([], [])
        for name in ("nobody", "bln_x", "@Nobody"):
            with pytest.raises(NotFound, match=f"there is no balance {name} USD: a balance is"):
                reader.balance(name, currency="USD")
            said = installation.run("balance", name, "--currency", "USD").stderr
            assert f"there is no balance {name} USD: a balance is called by" in said
        with pytest.raises(MalformedRequest, match="currency: is required"):
            reader.balance("@World")
        for limit in (0, -5, 10_001):
            with pytest.raises(MalformedRequest, match=r"limit: .* is not 1 to 10,000"):
                reader.transactions(limit=limit)
        with pytest.raises(MalformedRequest, match="status: APLIED is none of QUEUED, SCHEDULED"):
            reader.transactions(status="APLIED")
        with pytest.raises(TypeError, match="there is no filter balance"):
            reader.transactions(balance="bln_x")  # type: ignore[call-arg]
        with pytest.raises(MalformedRequest, match="after: x is no id"):
            reader.balances(after="x")
        for bad in ("\x00", "\udcff"):
            with pytest.raises(MalformedRequest):
                reader.balances(currency=bad)
        bare = datetime(2026, 4, 22)  # noqa: DTZ001 - what is refused
        for argument, call in (
            ("at", partial(reader.balance_at, "anna")),
            ("at", reader.trial_balance),
            ("since", partial(reader.statement, "anna")),
            ("until", reader.transactions),
            ("due_before", reader.schedules),
            ("due_before", reader.holds),
        ):
            given: dict[str, Any] = {argument: bare}
            with pytest.raises(MalformedRequest, match=f"{argument}: .* is no datetime with a zo"):
                call(**given)
        with pytest.raises(TypeError):
            reader.transaction()
    with pytest.raises(StoreUnavailable), daybook.Reader("postgresql://u@127.0.0.1:1/x") as away:
        away.ledgers()


def test_the_reader_of_asyncio_has_the_same_calls(
    installation: Installation, reader_url: str
) -> None:
    """Awaited, several at a time, with the same answers."""
    installation.client.enqueue(of_money(reference="first", destination="@Anna"))
    installation.drain()

    async def read() -> list[int]:
        async with daybook.AsyncReader(reader_url) as reader:
            found = await asyncio.gather(
                *(reader.balance(name, currency="USD") for name in ("@Anna", "@World"))
            )
            assert (await reader.transaction(reference="first")).status == "APPLIED"
            return [each.balance for each in found]

    assert asyncio.run(read()) == [1000, -1000]
    public = {name for name in vars(daybook.Reader) if not name.startswith("_")}
    assert public - set(vars(daybook.AsyncReader)) == {"stream_statement"}


def test_an_awaited_receipt_is_its_outcome(installation: Installation) -> None:
    """Of ``AsyncClient``: ``await receipt`` and ``await receipt.wait(…)``."""

    async def send() -> list[str]:
        async with daybook.AsyncClient(settings=installation.settings) as client:
            first = await client.enqueue(of_money(reference="first", destination="@Anna"))
            (second,) = await client.enqueue_many([of_money(reference="2", destination="@Anna")])
            await asyncio.to_thread(installation.drain)
            return [(await first).status, (await second.wait(timeout=10)).status]

    assert asyncio.run(send()) == ["APPLIED", "APPLIED"]


def test_the_tail_skips_nothing_whatever_partition_commits_first(
    installation: Installation, reader_url: str
) -> None:
    """A partition that lags, and commits what is older: it comes later, once, and in its order."""
    client = installation.client
    ends = [f"@To-{number}" for number in range(12)]
    for number, name in enumerate(ends):
        client.enqueue(of_money(reference=f"r-{number}", source=name, destination="@World"))
    cursor: dict[int, int] = {}
    seen: list[tuple[int, int]] = []

    def read(reader: daybook.Reader) -> None:
        while records := reader.records_after(cursor, limit=3):
            cursor.update(moved_on(cursor, records))
            seen.extend((record.partition, record.sequence) for record in records)

    with daybook.Reader(reader_url) as reader:
        installation.drain(1)
        read(reader)
        (behind,) = {partition for partition, _ in seen}
        installation.drain(0)
        client.enqueue(of_money(reference="late", source="@To-0", destination="@World"))
        installation.drain()
        read(reader)
        assert reader.records_after(cursor) == []
        whole = reader.records_after({}, limit=100)
        for partition, said in (
            (0, "lies ahead of the journal of partition 0, which ends at"),
            (7, "7:1 lies in partition 7, and there are 0 to 1 only: the database was restored"),
        ):
            ahead = {**cursor, partition: cursor.get(partition, 0) + 1}
            with pytest.raises(MalformedRequest, match=f"after: .*{said}"):
                reader.records_after(ahead)
        no_cursors: tuple[Any, ...] = ({"0": 1}, {0: -5}, {0: "1"}, {True: 1})
        for wrong in no_cursors:
            with pytest.raises(MalformedRequest, match="are no partition and sequence"):
                reader.records_after(wrong)
    assert behind == 1
    everything = installation.rows("SELECT partition, sequence FROM transactions ORDER BY 1, 2")
    assert sorted(seen) == everything
    assert sorted((each.partition, each.sequence) for each in whole) == everything
    for partition in (0, 1):
        assert [s for p, s in seen if p == partition] == sorted(
            s for p, s in seen if p == partition
        )


def test_a_cursor_is_read_as_it_is_written() -> None:
    """Text for people and files; what is none is named."""
    for cursor in ({}, {0: 12}, {0: 12, 11: 7}):
        assert read_cursor(cursor_text(cursor)) == cursor
    for bad in ("", "0", "0:1,", "0:-1", "x:1"):
        with pytest.raises(MalformedRequest, match="is no cursor like"):
            read_cursor(bad)
    with pytest.raises(MalformedRequest, match="after: 0:1,0:5 names a partition twice"):
        read_cursor("0:1,0:5")


def test_transactions_are_chosen_and_paged(installation: Installation) -> None:
    """By reason, ledger, meta_data and time; a page goes on behind the last of the one before."""
    client = installation.client
    anna = client.create_balance(client.create_ledger("Own").id, "USD").id
    for number in range(5):
        client.enqueue(
            of_money(reference=f"r-{number}", destination=anna, meta_data={"n": str(number)})
        )
    client.enqueue(of_money(reference="poor", source="@P", destination="@Q", allow_overdraft=False))
    installation.drain()
    client.merge_meta_data(client.status(reference="r-1").transaction_id, {"n": "4"})
    installation.drain()

    def shown(*words: str) -> list[str]:
        result = installation.run("transactions", "--json", *words)
        return [each["reference"] for each in json.loads(result.stdout)]

    assert shown("--reason", "insufficient_funds") == ["poor"]
    ledger = client.status(reference="r-0")
    with daybook.Reader(settings=installation.settings) as reader:
        own = reader.balance(anna).ledger_id
        first = reader.transactions(limit=2)
        second = reader.transactions(limit=10, after=first[-1].transaction_id)
        assert [each.reference for each in first] == ["poor", "r-4"]
        assert [each.reference for each in second] == ["r-3", "r-2", "r-1", "r-0"]
        assert reader.transactions(until=datetime.now(UTC) - timedelta(days=1)) == []
        with pytest.raises(MalformedRequest, match="after: there is no transaction"):
            reader.transactions(after="txn_0198a1b2-0000-7000-8000-000000000001")
        assert [each.reference for each in reader.transactions(status="rejected")] == ["poor"]
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"kind": "bogus"}, "kind: bogus is none of"),
            ({"reason": "nonsense"}, "reason: nonsense is none of"),
            ({"balance_id": "anna"}, "balance_id: anna is no id"),
            ({"parent": "r-0"}, "parent: r-0 is no id"),
            ({"meta_data": {"n": 1}}, "meta_data: n is compared as text: give '1'"),
            ({"since": datetime.now(UTC), "until": datetime(2020, 1, 1, tzinfo=UTC)}, "until: "),
        )
        for filters, said in wrong:
            with pytest.raises(MalformedRequest, match=said):
                reader.transactions(**filters)
        odd: Any
        for odd in ({"status": 5}, {"kind": ["x"]}, {"ledger_id": 5}, {"meta_data": "x"}):
            with pytest.raises(MalformedRequest, match=f"{next(iter(odd))}: "):
                reader.transactions(**odd)
        nowhere = "0198a1b2-0000-7000-8000-000000000001"
        with pytest.raises(NotFound, match=nowhere):
            reader.transactions(balance_id=f"bln_{nowhere}")
        with pytest.raises(NotFound, match=nowhere):
            reader.transactions(ledger_id=f"ldg_{nowhere}")
        never = internal_balance_id("@P", "USD")
        assert [each.reference for each in reader.transactions(balance_id=never)] == ["poor"]
        assert reader.transactions(balance_id=never, status="APPLIED") == []
    with pytest.raises(RuntimeError, match="is closed"):
        reader.ledgers()
    assert ledger.status == "APPLIED"
    assert shown("--ledger", own, "--meta", "n=4") == ["r-4", "r-1"]
    lines = installation.run("tail", "--after", "start", "--no-follow", "--json")
    read = [json.loads(line) for line in lines.stdout.splitlines()]
    assert {"r-0", "poor"} < {each["reference"] for each in read}
    assert lines.stderr.strip().endswith(read[-1]["cursor"])
    again = installation.run("tail", "--after", read[-2]["cursor"], "--no-follow")
    assert read[-1]["transaction_id"] in again.stdout
    assert len(again.stdout.splitlines()) == 1


def test_a_tail_that_is_interrupted_says_how_far_it_was(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor behind the last record that was shown, in the middle of a page too."""
    for number in range(4):
        installation.client.enqueue(of_money(reference=f"r-{number}", destination="@Here"))
    installation.drain()
    shown: list[str] = []
    stopped: object = None

    def show(_: object, behind: str, as_json: bool) -> None:
        del as_json
        if len(shown) == 2:
            if stopped is signal.SIGTERM:
                signal.raise_signal(signal.SIGTERM)
            raise KeyboardInterrupt
        shown.append(behind)

    monkeypatch.setattr(tail, "_show", show)
    monkeypatch.setenv("DAYBOOK_DATABASE_URL", installation.worker_url)
    current.cache_clear()
    for stopped in (KeyboardInterrupt, signal.SIGTERM):
        shown.clear()
        ended = CliRunner().invoke(app, ["tail", "--after", "start"])
        assert (ended.exit_code, stopped) == (130, stopped)
        assert ended.stderr == f"go on: --after {shown[-1]}\n"
        assert len(set(shown)) == 2
    impossible = CliRunner().invoke(app, ["tail", "--after", "0:99999999,1:0", "--no-follow"])
    assert (impossible.exit_code, "ahead of the journal" in impossible.stderr) == (2, True)
    assert "go on" not in impossible.stderr
