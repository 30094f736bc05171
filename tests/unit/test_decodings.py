"""From what stands in the log to what can be decided: in one order, and long ones once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.entries import body_of
from tests.oracle.scenario import FIRST_POSITION, Parser

from daybook import requests
from daybook.apply import decoding
from daybook.apply.batch import Batch, Read
from daybook.apply.decoding import LARGE_BYTES, LARGE_KEPT_MAX, LargeDecoded, decode_all
from daybook.ledger.chain import GENESIS
from daybook.queue.entries import RawEntry
from daybook.requests import slot_of_transaction
from daybook.store.batch.rows import DeferredEntry, PartitionRow


def raw(number: int, reference: str = "r", note: str = "") -> RawEntry:
    """A payment at this position."""
    line = f"{reference}: @World > @Till 1.00 USD@100 overdraft key=k"
    step = list(Parser().steps(line))[-1]
    assert step.request is not None
    request = step.request | {"description": note}
    body = body_of(request, step.request_id)
    return RawEntry(FIRST_POSITION + number, step.request_id, f"t:{reference}", "", body)


def row_of(one: RawEntry) -> PartitionRow:
    """The only partition, to which every slot belongs."""
    del one
    return PartitionRow(0, 0, 0, GENESIS, 0, 0, None, 1, 1)


def decoded(*raws: RawEntry, deferred: tuple[DeferredEntry, ...] = (), large: Any = None) -> Batch:
    read = Read(row_of(raws[0]), list(raws), list(deferred), [])
    return decode_all([read], None, large or LargeDecoded())


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of what is decoded from now on."""
    seen: list[str] = []
    decode = requests.decode

    def noted(body: bytes, request_id: str, accepted_ms: int) -> Any:
        seen.append(request_id)
        return decode(body, request_id, accepted_ms)

    monkeypatch.setattr(decoding, "decode", noted)
    return seen


def test_what_is_decided_stands_in_the_order_of_acceptance() -> None:
    """New entries of several partitions, and those that were deferred."""
    rows = [row_of(raw(0))._replace(partition=0) for _ in range(2)]
    one, two, three = raw(3, "a"), raw(1, "b"), raw(2, "c")
    waiting = [
        DeferredEntry(each.position - 9, each.request_id, "c", each.body) for each in (one, three)
    ]
    reads = [Read(rows[0], [two, one], waiting, []), Read(rows[1], [three], [], [])]
    batch = decode_all(reads, None, LargeDecoded())
    assert [each.position - FIRST_POSITION for each in batch.entries] == [1, 2, 3]
    assert [each.position - FIRST_POSITION for each in batch.waiting] == [-7, -6]
    assert set(batch.flags.values()) == {"c"}
    assert {entry.slot for entry in batch.entries} == {slot_of_transaction(one.request_id)}


def test_what_is_no_request_any_more_keeps_its_key() -> None:
    """By the reference of what was deferred, or by its id."""
    sent = raw(0)
    other = DeferredEntry(1, sent.request_id, "", sent.body.replace(b'"kind"', b'"what"'))
    nameless = other._replace(body=b"{}")
    batch = decoded(sent, deferred=(other, nameless))
    keys = [each.raw.key for each in batch.undecodable]
    assert keys == ["t:r", f"i:{sent.request_id}"]


def test_a_large_entry_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often its batch is tried; another one at its place is another one."""
    seen, large = counted(monkeypatch), LargeDecoded()
    long = raw(0, note="x" * 2_000)
    monkeypatch.setattr(decoding, "LARGE_BYTES", len(long.body))
    first, second = (decoded(long, large=large) for _ in range(2))
    assert first.entries == second.entries
    assert len(seen) == 1
    decoded(long._replace(body=long.body.replace(b"xxx", b"yxx", 1)), large=large)
    decoded(long._replace(position=long.position + 1), large=large)
    assert len(seen) == 3
    monkeypatch.setattr(decoding, "LARGE_BYTES", len(long.body) + 1)
    decoded(long, large=large)
    assert len(seen) == 4


def test_what_is_small_is_not_kept() -> None:
    """Decoding it costs less than keeping it."""
    large, small = LargeDecoded(), raw(0)
    decoded(small, large=large)
    assert large.recall(small) is None
    assert large.recall(small._replace(body=b"x" * LARGE_BYTES)) is None


def test_no_more_than_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was kept first goes first."""
    monkeypatch.setattr(decoding, "LARGE_BYTES", 1)
    large = LargeDecoded()
    sent = [raw(number) for number in range(LARGE_KEPT_MAX + 1)]
    for each in sent:
        decoded(each, large=large)
    kept = [large.recall(each) is not None for each in sent]
    assert kept == [False] + [True] * LARGE_KEPT_MAX
