"""What somebody writes into Redis past the script: it harms nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daybook import Client
from daybook.apply.due import append_due
from daybook.apply.sweep import sweep_partitions
from daybook.client.drafts import draft
from daybook.client.receipts import Receipt
from daybook.errors import LogUnavailable, NotFound
from daybook.ledger.ids import part_id
from daybook.monitoring.inspection import log_faults
from daybook.requests import decode
from daybook.store.proof.verify import verify
from tests.fault.proof import assert_proved
from tests.fault.requests import bulk, deposit, make_balances, move
from tests.harness import Installation, wait_until


def write(installation: Installation, partition: int, entry_id: str = "*", **fields: Any) -> None:
    """An entry by hand: ``i`` id, ``k`` outcome key, ``c`` flags, ``b`` body."""
    given = {"i": "x", "k": "", "c": "", "b": "{}", **fields}
    installation.put(installation.log.keys.log(partition), given, entry_id)


def purses(installation: Installation) -> list[str]:
    """Two balances with money, applied."""
    names, _ = make_balances(installation, 2)
    for name in names:
        installation.client.enqueue(deposit(f"fund-{name}", name, 100))
    installation.drain()
    return names


def applied(installation: Installation, names: list[str], name: str) -> list[Receipt]:
    """Requests of both balances are applied; returns their receipts."""
    receipts = [
        installation.client.enqueue(move(f"{name}-{purse}", purse, "@Shop", 1)) for purse in names
    ]
    installation.drain()
    assert [receipt.wait(5).status for receipt in receipts] == ["APPLIED"] * len(receipts)
    assert installation.open_entries() == 0
    return receipts


def sweep(installation: Installation) -> None:
    """What beat has done every second."""
    sweep_partitions(
        installation.store, installation.log, installation.applier(), lambda partition: None
    )


def faults(installation: Installation) -> set[tuple[str, str]]:
    """What health reports of the log, by kind and key."""
    found = log_faults(installation.log, installation.partitions, 0, sleep=lambda seconds: None)
    return {(fault.kind, fault.name) for fault in found}


def assert_mended(installation: Installation, names: list[str], name: str = "after") -> None:
    """After a sweep everybody goes on, nothing is reported, and the present is where it was."""
    sweep(installation)
    installation.drain()
    applied(installation, names, name)
    sweep(installation)
    assert faults(installation) == set()
    assert installation.log.clock() >> 20 < (time.time() + 120) * 1_000
    assert_proved(installation)


@pytest.mark.parametrize(
    "entry_id",
    [
        lambda ms: f"{ms}-10000000000000",
        lambda ms: f"{ms}-1048576",
        lambda ms: f"{ms + 3_600_000}-0",
        lambda ms: f"{ms * 1_000}-0",
        lambda ms: "9999999999999-0",
        lambda ms: "18446744073709551614-0",
        lambda ms: "18446744073709551615-18446744073709551615",
    ],
)
def test_an_id_that_the_log_can_not_have_given_is_replaced(
    installation: Installation, entry_id: Any
) -> None:
    """Nothing that was accepted is lost behind it, and what it asks for is decided."""
    names = purses(installation)
    for partition in (0, 1):
        write(installation, partition, entry_id(int(time.time() * 1_000)), i=f"mine-{partition}")
    assert_mended(installation, names)
    rows = installation.rows("SELECT request_id FROM rejected_requests ORDER BY 1")
    assert rows == [("mine-0",), ("mine-1",)]


def test_a_worker_needs_no_sweeper_to_come_by_an_impossible_id(installation: Installation) -> None:
    """It puts right what it reads."""
    names = purses(installation)
    ms = int(time.time() * 1_000)
    for entry_id in (f"{ms}-10000000000000", f"{ms + 3_600_000}-0"):
        write(installation, 0, entry_id)
        installation.drain()
    applied(installation, names, "after")
    assert_proved(installation)


def test_an_id_in_the_future_holds_up_no_wide_and_no_long_stream(
    installation: Installation,
) -> None:
    """An entry of thousands of fields, and thousands of entries that are kept."""
    names = purses(installation)
    stream = installation.log.keys.log(0)
    installation.redis.xadd(stream, {f"f{number}": "v" for number in range(4_100)})
    installation.drain()
    kept = [deposit(f"kept-{number}", names[number % 2], 1) for number in range(2_000)]
    receipts = installation.client.enqueue_many(kept)
    installation.redis.xadd(stream, {"b": "x"}, id="9999999999999-0")
    assert_mended(installation, names)
    assert {receipt.wait(5).status for receipt in receipts} == {"APPLIED"}


def test_what_was_accepted_before_the_clock_was_put_back_is_applied_in_order(
    installation: Installation,
) -> None:
    """The server's clock was an hour ahead and is right again, while no worker ran."""
    names = purses(installation)
    ahead = int(time.time() * 1_000) + 3_600_000
    keys = installation.log.keys
    installation.redis.set(keys.clock, f"{ahead}-0")
    installation.redis.hset(keys.state, "clock", f"{ahead}-0")  # as if workers had vouched
    receipts = [installation.client.enqueue(move("a", names[0], names[1], 100))]
    receipts += [installation.client.enqueue(move("b", names[1], "@Shop", 200))]
    assert receipts[0].position is not None
    assert receipts[0].position >> 20 == ahead
    installation.redis.hset(keys.state, "clock", "0-0")
    assert {kind for kind, _ in faults(installation)} == {"clock", "future"}
    assert_mended(installation, [])
    assert [receipt.wait(5).status for receipt in receipts] == ["APPLIED", "APPLIED"]


@pytest.mark.parametrize(
    "clock", ["garbage", "", "1-0", "9999999999999-0", "99999999999999999999-0", "-1-0", "1"]
)
def test_no_clock_stops_anybody(installation: Installation, clock: str) -> None:
    """Whatever stands there, it is right again after a sweep, and the order is kept."""
    names = purses(installation)
    installation.redis.set(installation.log.keys.clock, clock)
    assert_mended(installation, names)
    installation.redis.set(installation.log.keys.clock, clock, px=1)
    assert_mended(installation, names, "again")


def test_health_says_what_no_sweep_repairs(installation: Installation) -> None:
    """Beat or the workers are away, and somebody wrote past the scripts."""
    installation.redis.set(installation.log.keys.clock, "garbage")
    done = installation.run("health", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}["strangers"]
    assert (done.returncode, found["state"]) == (1, "failed")
    assert "clock" in found["detail"]
    assert "garbage" in found["detail"]
    sweep(installation)
    assert installation.run("health", "--only", "strangers").returncode == 0


def test_producers_wait_for_the_clock_and_no_request_is_refused(
    installation: Installation,
) -> None:
    """They try again until a sweep has repaired it."""
    names = purses(installation)
    installation.redis.set(installation.log.keys.clock, "garbage")
    settings = installation.settings.model_copy(update={"retry_seconds_max": 0.0})
    with Client(settings=settings) as hasty, pytest.raises(LogUnavailable, match="its clock"):
        hasty.enqueue(move("hasty", names[0], "@Shop", 1))
    assert ("clock", "clock") in faults(installation)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(installation.client.enqueue, move("patient", names[0], "@Shop", 1))
        sweep(installation)
        assert waiting.result(timeout=60).state == "accepted"
    assert_mended(installation, names)


@pytest.mark.parametrize(
    ("entry_id", "fields"),
    [
        ("*", {"x": "y"}),
        ("*", {"n": "many"}),
        ("*", {"n": "-5"}),
        ("*", {"n": "9" * 5_000}),
        ("9999999999999-0", {"n": "5"}),
        ("18446744073709551615-18446744073709551615", {"x": "y"}),
    ],
)
def test_no_mark_of_a_large_entry_stops_its_partition(
    installation: Installation, entry_id: str, fields: dict[str, str]
) -> None:
    """Strange marks say nothing, and none keeps those that an append writes out."""
    names = purses(installation)
    for partition in (0, 1):
        installation.put(installation.log.keys.large(partition), fields, entry_id)
    assert installation.log.count_unread(0, installation.log.clock()) == 0
    assert_mended(installation, names)
    note = {"note": "x" * 15_000}
    large = [
        installation.client.enqueue(
            bulk(f"large-{n}", [move(f"{n}-{i}", n, "@Shop", 1, meta_data=note) for i in range(5)])
        )
        for n in names
    ]
    installation.drain()
    assert [receipt.wait(5).status for receipt in large] == ["APPLIED", "APPLIED"]
    marked = [installation.redis.xlen(installation.log.keys.large(p)) for p in (0, 1)]
    assert sum(marked) >= 2


@pytest.mark.parametrize("entry_id", ["9999999999999-0", "18446744073709551614-0"])
def test_an_empty_stream_keeps_no_id_of_the_future(
    installation: Installation, entry_id: str
) -> None:
    """Everything was trimmed by the one entry that is none."""
    names = purses(installation)
    for stream in (installation.log.keys.log(0), installation.log.keys.large(1)):
        installation.redis.xadd(stream, {"b": "x"}, id=entry_id, maxlen=0, approximate=False)
    assert {kind for kind, _ in faults(installation)} == {"last_id"}
    sweep(installation)
    assert faults(installation) == set()
    applied(installation, names, "after")
    assert verify(installation.owner).violations == []


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("cursors", "0", "garbage"),
        ("cursors", "x", "1-1"),
        ("cursors", "0", "9999999999998-0"),
        ("replied", "0", "garbage"),
        ("replied", "1", "99999999999"),
        ("told", "0", "1e9"),
        ("told", "-1", "5"),
        ("state", "partitions", "garbage"),
        ("state", "partitions", "0"),
        ("state", "entries_max", ""),
        ("state", "epoch", "x"),
        ("state", "epoch:1", "two 0-0"),
        ("state", "epoch:x", "2 0-0"),
        ("state", "clock", "garbage"),
        ("state", "decided", "garbage"),
    ],
)
def test_no_field_stops_anybody(
    installation: Installation, name: str, field: str, value: str
) -> None:
    """What workers know is written anew from what Postgres knows."""
    names = purses(installation)
    installation.redis.hset(installation.log.keys.prefix + name, field, value)
    assert_mended(installation, names)


@pytest.mark.parametrize(
    "name",
    ["state", "clock", "cursors", "replied", "told", "workers", "log:0", "large:1", "bell:0"],
)
def test_a_key_of_another_type_is_moved_out_of_the_way(
    installation: Installation, name: str
) -> None:
    """And what belongs there is made anew."""
    names = purses(installation)
    key = installation.log.keys.prefix + name
    installation.redis.delete(key)
    installation.redis.lpush(key, "strange")
    assert ("type", name) in faults(installation)
    sweep(installation)
    installation.drain()
    applied(installation, names, "after")
    assert faults(installation) == set()
    assert installation.redis.lrange(f"{installation.log.keys.prefix}strange:{name}", 0, -1)


def test_what_is_said_to_be_queued_blocks_no_reference(installation: Installation) -> None:
    """A mark that a stranger wrote says nothing that the log does not."""
    first, second = purses(installation)
    request = move("mine", first, second, 1)
    made = draft(request, time.time)
    ahead = f"{int(time.time() * 1_000) + 50_000}-0"
    for fingerprint in (made.entry.fingerprint.hex(), "0" * 64):
        for said in ("Qtxn_x 0 1-1", f"Ptxn_x 7 {ahead}", "P", "garbage", 'R{"status":"APPLIED"}'):
            sweep(installation)
            key = installation.log.keys.queued(made.entry.key)
            installation.redis.set(key, fingerprint + said)
            receipt = installation.client.enqueue(request)
            assert receipt.state in ("accepted", "duplicate")
            installation.drain()
            outcome = receipt.wait(5)
            assert outcome.status == "APPLIED"
    assert installation.rows("SELECT count(*) FROM transactions WHERE reference = 'mine'") == [(1,)]
    assert_proved(installation)


def test_nobody_is_told_an_outcome_that_a_producer_wrote(installation: Installation) -> None:
    """Where producers may write, only what is queued is read; strange is as good as none."""
    first, second = purses(installation)
    made = draft(move("mine", first, second, 1), time.time)
    forged = made.entry.fingerprint.hex() + 'R{"id":"txn_x","status":"APPLIED","at":5}'
    keys = installation.log.keys
    installation.redis.set(keys.queued(made.entry.key), forged)
    receipt = installation.client.enqueue(move("mine", first, second, 1))
    assert (receipt.state, installation.client.status(reference="mine").status) == (
        "accepted",
        "QUEUED",
    )
    for strange in ("garbage", "0" * 64 + "R[]", "0" * 64 + 'R{"id":1,"status":2}', "\xff"):
        installation.redis.set(keys.outcome("t:strange"), strange)
        installation.redis.set(keys.queued("t:strange"), strange)
        with pytest.raises(NotFound):
            installation.client.status(reference="strange")
        receipt = installation.client.enqueue(move("strange", first, second, 1))
        assert receipt.state in ("accepted", "duplicate")
        installation.drain()
        assert receipt.wait(5).status == "APPLIED"


def test_an_empty_reference_uses_nothing_up(installation: Installation) -> None:
    """However often it comes."""
    names = purses(installation)
    for partition in (0, 1, 0, 1):
        write(installation, partition, b='{"reference":"","v":1}')
    installation.drain()
    applied(installation, names, "after")
    assert installation.rows("SELECT count(*) FROM rejected_requests") == [(4,)]


@pytest.mark.parametrize("number", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("step", [0, 1, -1], ids=["one place", "rising", "falling"])
@pytest.mark.parametrize("all_to_all", [False, True], ids=["ring", "all"])
def test_forged_barriers_that_wait_for_each_other_open(
    install_daybook: Callable[[int], Installation], number: int, step: int, all_to_all: bool
) -> None:
    """Each names the next partition, or all others, at the same place or beside it."""
    installation = install_daybook(number)
    names = purses(installation)
    now = int(time.time() * 1_000)
    for partition in range(number):
        homes = [(partition + n) % number for n in range(1, number if all_to_all else 2)]
        for count, home in enumerate(homes):
            place = f"{now + count}-{20 + step * partition}"
            write(installation, partition, place, c="b", b=str(home))
    applied(installation, names, "after")


@pytest.mark.parametrize("expired", [False, True])
def test_the_outcome_of_another_stays(installation: Installation, expired: bool) -> None:
    """What is no request can name any outcome key; the owner's outcome is not replaced.

    expired: it has gone already, and only the journal knows whose the reference is.
    """
    names = purses(installation)
    keys = installation.log.keys
    honest = deposit("mine", names[0], 5)
    receipt = installation.client.enqueue(honest)
    ledger = installation.client.create_ledger("Somebody's")
    ((home, copied),) = [
        (partition, entry)
        for partition in (0, 1)
        for _, entry in installation.stream(keys.log(partition))
        if entry[b"k"] == b"t:mine"
    ]
    installation.drain()
    if expired:
        installation.redis.delete(keys.outcome(receipt.key), keys.outcome(f"i:{ledger.id}"))
    for partition in (0, 1):
        write(installation, partition, k=receipt.key, b='{"v":1,"kind":"future"}')
        write(installation, partition, i=receipt.id, k=receipt.key, b="garbage")
        write(installation, partition, i=receipt.id, k=receipt.key, b='{"reference":"mine"}')
        write(installation, partition, i=ledger.id, k=f"i:{ledger.id}", b="garbage")
    installation.put(keys.log(1 - home), copied)
    installation.drain()
    again = installation.client.enqueue(honest)
    installation.drain()
    outcome = again.wait(5)
    assert (outcome.status, outcome.transaction_id) == ("APPLIED", receipt.id)
    if expired:
        assert not installation.redis.exists(keys.outcome(f"i:{ledger.id}"))
    else:
        assert installation.client.status(id=ledger.id).status == "APPLIED"
    assert_proved(installation)


def test_what_is_due_is_not_stopped_by_a_strangers_key(installation: Installation) -> None:
    """A schedule and a hold come due although something else stands under their outcome keys."""
    first, second = purses(installation)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    scheduled = installation.client.enqueue(move("later", first, second, 1, scheduled_for=soon))
    hold = installation.client.enqueue(
        move("hold", first, second, 1, inflight=True, inflight_expiry_date=soon)
    )
    installation.drain()
    slot = int(hold.id[19:22], 16)
    deadline = {"v": 1, "kind": "deadline", "transaction_id": hold.id}
    body = json.dumps(deadline, indent=1)
    request_id = part_id(hold.id, "deadline")
    write(installation, slot % 2, i=request_id, k=f"i:{request_id}", b=body)
    stranger = "0" * 64 + 'R{"id":"x","status":"REJECTED","reason":"malformed"}'
    installation.redis.set(installation.log.keys.outcome(scheduled.key), stranger)
    ahead = f"{int(time.time() * 1_000) + 30_000}-0"
    for key in (scheduled.key, f"i:{request_id}"):
        mark = installation.log.keys.queued(key)
        installation.redis.set(mark, "0" * 64 + f"Qtxn_x 0 {ahead}")
    installation.drain()
    wait_until(lambda: datetime.now(UTC) > soon + timedelta(milliseconds=50), "it is due")
    append_due(installation.store, installation.log, lambda partition: None)
    installation.drain()
    rows = installation.rows(
        "SELECT kind, status FROM transactions WHERE reference = 'later' OR kind = 'void' "
        "ORDER BY 1"
    )
    assert rows == [("transaction", "APPLIED"), ("void", "VOID")]
    assert installation.client.status(reference="later").status == "APPLIED"


def test_a_mark_that_was_forged_is_believed_until_all_before_it_is_decided(
    installation: Installation,
) -> None:
    """Then a look-up says again what is true: nothing stands under that reference."""
    first, second = purses(installation)
    ahead = f"{int(time.time() * 1_000) + 2_000}-0"
    installation.redis.set(installation.log.keys.queued("t:free"), "0" * 64 + f"Qtxn_x 0 {ahead}")
    assert installation.client.status(reference="free").status == "QUEUED"

    def is_unknown() -> bool:
        installation.client.enqueue(move(f"on-{time.time()}", first, second, 1))
        installation.drain()
        sweep(installation)
        with suppress(NotFound):
            return not installation.client.status(reference="free")
        return True

    wait_until(is_unknown, "the mark is overtaken")


def test_a_body_with_a_million_faults_is_told_in_short() -> None:
    """Its errors are counted, not written out."""
    junk = {f"k{number}": 1 for number in range(20_000)}
    body = json.dumps({"v": 1, "kind": "bulk", "reference": "b", "transactions": [junk]})
    refused = decode(body.encode(), "bulk_x", 0)
    assert "too many to tell" in getattr(refused, "detail", "")
