"""DynamoDB's typed values: what goes in comes back, and they are boto3's."""

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.typed import plain, typed

VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**30), 10**30) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_goes_in_comes_back_and_is_written_as_boto3_writes_it(value: Any) -> None:
    assert plain(typed(value)) == value
    assert typed(value) == TypeSerializer().serialize(value)


def test_a_fraction_comes_back_as_a_float() -> None:
    assert plain(typed(Decimal("0.15"))) == 0.15
    assert plain({"N": "7.0"}) == 7


@pytest.mark.parametrize("value", [0.1, {1}, object(), [0.1]])
def test_what_dynamodb_does_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        typed(value)
