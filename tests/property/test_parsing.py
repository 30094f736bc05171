"""Whatever stands in Redis is read without a fault."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daybook.queue import log, parsing
from daybook.queue.entries import (
    COUNTER_MAX,
    POINTER,
    POSITION_LIMIT,
    entry_id_of,
    outcome_value,
)
from daybook.queue.parsing import (
    key_state_in,
    known_values,
    mark_in,
    number_in,
    numbers_in,
    object_in,
    pointer_in,
    position_in,
    positions_in,
    state_in,
)
from daybook.queue.scripts import CLOCK_SCRIPT

RAW = st.one_of(
    st.binary(max_size=80),
    st.from_regex(r"\A\d{0,22}-?\d{0,22}\Z").map(str.encode),
    st.from_regex(r"\A[0-9a-f]{64}[QR].{0,40}\Z").map(str.encode),
    st.sampled_from([b"", b"9" * 5_000, b"1" * 19, b"[" * 100_000, b"NaN", b"1e9", b"-1", b"\xff"]),
    st.sampled_from([b"0" * 64 + b"R" + b"[" * 100_000, b"0" * 64 + b'R{"id":"x","status":"S"}']),
)
FIELDS = st.dictionaries(
    st.one_of(RAW, st.sampled_from([b"partitions", b"entries_max", b"epoch", b"epoch:1", b"n"])),
    RAW,
    max_size=5,
)


@given(RAW, FIELDS)
def test_nothing_raises(raw: bytes, fields: dict[bytes, bytes]) -> None:
    """Each function answers with a value of its type, or None."""
    position, number = position_in("k", raw), number_in("k", raw)
    assert position is None or (0 <= position < POSITION_LIMIT and isinstance(position, int))
    assert number is None or number >= 0
    assert all(isinstance(value, int) for value in numbers_in("k", fields).values())
    assert all(isinstance(value, int) for value in positions_in("k", fields).values())
    state = state_in("k", fields)
    assert state is None or (state.partitions >= 1 and state.entries_max >= 1)
    mark = mark_in("k", raw, fields)
    assert mark is None or len(mark) == 2
    known = key_state_in(raw)
    assert known is None or isinstance(known.request_id, str)
    assert known_values([raw, None]) == [None if known is None else raw]
    assert object_in("k", raw) is None or isinstance(object_in("k", raw), dict)


@given(st.integers(0, POSITION_LIMIT - 1))
def test_every_position_is_read_back(position: int) -> None:
    """None that the log gives is taken for strange."""
    assert position_in("k", entry_id_of(position).encode()) == position


@pytest.mark.parametrize(
    "value",
    ["R[]", 'R{"id":1,"status":"x"}', 'R{"id":"x","status":"x","at":"5"}', 'R{"id":"x"}',
     'R{"id":"x","status":"x","at":true}', 'R{"id":"x","status":"x","reason":5}', "Q", "Px 0",
     "Qx y 1-1", "Ptxn_x 0 99999999999999-1", 'R{"id":"x","status":"x","duplicate":"no"}'],
)  # fmt: skip
def test_a_value_that_says_nothing_is_none(value: str) -> None:
    """A forged outcome or mark with fields of other types."""
    assert key_state_in(("0" * 64 + value).encode()) is None


def test_what_is_known_is_the_outcome_first() -> None:
    """A mark says that a request is queued only where there is no outcome."""
    outcome = outcome_value("0" * 64, "txn_1", "APPLIED", position=5).encode()
    mark = b"0" * 64 + b"Qtxn_1 0 1-1"
    assert known_values([outcome, mark, None, mark, b"x", mark]) == [outcome, mark, mark]


def test_a_pointer_is_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an append leaves under an id in place of a mark is not reported, and says nothing."""
    told: list[tuple[str, object]] = []
    monkeypatch.setattr(parsing, "tell", lambda *words: told.append(words))
    pointer = f"{POINTER}t:order-17".encode()
    assert known_values([None, pointer, pointer, None]) == [None, None]
    assert pointer_in(pointer) == "t:order-17"
    assert told == [("outcome", pointer)]  # as an outcome, which workers alone write, it is strange


def test_scripts_and_code_have_the_same_bounds() -> None:
    """What the append script refuses, a worker does not read, and the other way round."""
    said = dict(re.findall(r"local (\w+_MAX) = (\d+)", CLOCK_SCRIPT))
    assert {name: int(value) for name, value in said.items()} == {
        "COUNTER_MAX": COUNTER_MAX,
        "AHEAD_MS_MAX": log.AHEAD_MS_MAX,
        "CATCH_UP_MS_MAX": log.CATCH_UP_MS_MAX,
    }
