"""Canonical bytes of records: different records never share them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daybook.ledger.chain import canonical_bytes
from daybook.ledger.record import Record

# Few letters, digits among them, so that neighbouring fields could run into each other.
texts = st.text("01a-é", max_size=3)
present = st.text("01a-é", min_size=1, max_size=3)
numbers = st.integers(-2, 120)
FIELDS: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(
    ("transaction_id", "kind", "reference", "status"), present
)
FIELDS |= dict.fromkeys(("currency", "description"), texts)
FIELDS |= {
    name: st.none() | present
    for name in ("parent_id", "source_id", "destination_id", "reason", "detail", "subject_id")
}
FIELDS |= {name: st.none() | present for name in ("overdraft_limit", "meta_data", "change")}
FIELDS |= {name: st.none() | numbers for name in ("precision", "precise_amount")}
FIELDS |= {name: st.none() | numbers for name in ("parts", "part")}
FIELDS |= {
    name: st.none() | numbers for name in ("expires_micros", "commits_micros", "scheduled_micros")
}
FIELDS |= dict.fromkeys(("position", "effective_micros"), numbers)
FIELDS |= {name: st.booleans() for name in ("derived", "allow_overdraft")}
FIELDS |= {"fingerprint": st.binary(min_size=32, max_size=32)}

places = st.tuples(st.integers(0, 12), st.integers(1, 12))


def records_with(names: tuple[str, ...]) -> st.SearchStrategy[Record]:
    """Records with these fields. (``builds`` would fill the others in, too.)"""
    given_fields = st.fixed_dictionaries({name: FIELDS[name] for name in names})
    return given_fields.map(lambda drawn: Record(**drawn))


records = records_with(Record._fields)
plain = records_with(Record._fields[:20])


@st.composite
def neighbours(draw: Any) -> tuple[Record, Record]:
    """Two records that differ in a few fields only, or have swapped two of them."""
    record = draw(st.one_of(plain, records))
    names = draw(st.lists(st.sampled_from(Record._fields), min_size=1, max_size=3, unique=True))
    return record, record._replace(**{name: draw(FIELDS[name]) for name in names})


@given(places, neighbours(), places)
def test_canonical_bytes_are_unambiguous(
    place: tuple[int, int], pair: tuple[Record, Record], other: tuple[int, int]
) -> None:
    """Two records, or the same in two places, have the same bytes only when they are the same."""
    first = canonical_bytes(*place, pair[0])
    assert (canonical_bytes(*other, pair[1]) == first) == ((other, pair[1]) == (place, pair[0]))
    assert (canonical_bytes(*place, pair[1]) == first) == (pair[0] == pair[1])
