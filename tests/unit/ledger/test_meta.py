"""Merging meta_data: by key, and no value's text changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daybook.ledger.meta import merge
from daybook.requests import load_json
from daybook.requests.fields import canonical_meta_data


@pytest.mark.parametrize(
    ("over", "patch", "merged"),
    [
        (None, None, None),
        (None, '{"a":1}', '{"a":1}'),
        ('{"a":1}', None, '{"a":1}'),
        ("{}", "{}", "{}"),
        ('{"a":1}', "{}", '{"a":1}'),
        ("{}", '{"b":1,"a":2}', '{"a":2,"b":1}'),
        ('{"a":1,"b":{"c":1}}', '{"b":{"d":2}}', '{"a":1,"b":{"d":2}}'),
        ('{"a":1}', '{"a":null}', '{"a":null}'),
        ('{"n":0.10000000000000000000000001}', '{"a":1E+400}', None),
        ('{"n":' + "9" * 5_000 + "}", '{"a":1}', None),
        (
            '{"é":"{\\"x\\":1}","\\"":",}"}',
            '{"z":[{"y":[1,2]},true]}',
            '{"\\"":",}","z":[{"y":[1,2]},true],"é":"{\\"x\\":1}"}',
        ),
        ('{"a":1} ', "{ } ", '{"a":1}'),
        ('{ "b" : 1.50 , "c": [ ] }', '{"a": "x"\n}', '{"a":"x","b":1.50,"c":[ ]}'),
    ],
)
def test_merge(over: str | None, patch: str | None, merged: str | None) -> None:
    """A key of the patch replaces the value; every other value keeps its text."""
    found = merge(over, patch)
    if merged is not None or over is None:
        assert found == merged
        return
    assert found is not None
    assert patch is not None
    for text in (over, patch):
        assert text[1:-1] in found
    assert len(found) == len(over) + len(patch) - 1


@pytest.mark.parametrize(
    "text", ["", "[]", "1", '"a"', "{", '{"a"}', '{"a":}', "{1:2}", '{"a":1', "{} 1", '{"a":1}}']
)
def test_what_is_no_object(text: str) -> None:
    """A text that is no object is a fault, not silently dropped."""
    with pytest.raises(ValueError, match=r".+"):
        merge(text, '{"a":1}')
    with pytest.raises(ValueError, match=r".+"):
        merge('{"a":1}', text)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.decimals(-9, 9, places=7),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(texts, values, max_size=4)


@given(objects, objects, objects)
def test_merging_is_what_dictionaries_do(one: Any, two: Any, three: Any) -> None:
    """Merging texts is merging the objects, in canonical form again, whatever the grouping."""
    a, b, c = (canonical_meta_data(value) for value in (one, two, three))
    merged = merge(a, b)
    assert merged == canonical_meta_data(one | two)
    assert load_json(merged) == load_json(canonical_meta_data(one | two))
    assert merge(merged, c) == merge(a, merge(b, c))
    assert Decimal("0.10") == load_json(merge(merged, '{"d":0.10}') or "")["d"]
