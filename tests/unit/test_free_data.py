"""Free data that comes back from PostgreSQL."""

import decimal

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wallets_service.ledger import free_data

values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def written_out(value: object) -> object:
    """Return a value with its numbers as PostgreSQL writes them: in full, without an exponent."""
    if isinstance(value, float):
        return orjson.Fragment(f"{decimal.Decimal(repr(value)):f}")
    if isinstance(value, list):
        return [written_out(item) for item in value]
    return {key: written_out(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_free_data_is_equal_to_what_was_stored(sent: dict[str, object]) -> None:
    assert free_data.loads(orjson.dumps(written_out(sent)).decode()) == sent


def test_a_number_beyond_64_bits_is_the_double_that_was_sent() -> None:
    assert free_data.loads(f'{{"big": 1{"0" * 23}, "odd": 1152921504606847000}}') == {"big": 1e23, "odd": 2.0**60}


@given(
    st.dictionaries(st.text(max_size=5), values, max_size=5), st.dictionaries(st.text(max_size=5), values, max_size=5)
)
def test_free_data_is_the_same_only_if_its_json_is(one: dict[str, object], other: dict[str, object]) -> None:
    texts = [orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in (one, other)]
    assume(not any(b"-0.0" in text for text in texts))  # It is 0, and written otherwise.
    assert (free_data.FreeData(one) == free_data.FreeData(other)) is (texts[0] == texts[1])
    assert (free_data.FreeData(one) != other) is (texts[0] != texts[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": True}, {"a": 1}), ({"a": 0}, {"a": False}), ({"a": [1, [True]]}, {"a": [1, [1]]}), ({"a": {}}, {"a": []})],
)
def test_what_python_takes_for_the_same_is_not(one: dict[str, object], other: dict[str, object]) -> None:
    assert free_data.FreeData(one) != other
    assert one != free_data.FreeData(other)
