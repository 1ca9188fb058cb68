"""What the sandbox accepts: forms, parameters, amounts."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from deploy.sandbox import currencies, errors, forms
from deploy.sandbox.parameters import Array, Boolean, Choice, Fields, Integer, Metadata, Text, Unsupported, merged

ACCEPTED = Fields(
    {
        "amount": Integer(minimum=1, required=True),
        "confirm": Boolean(),
        "mode": Choice(("fast", "slow")),
        "metadata": Metadata(),
        "expand": Array(Text(limit=5)),
        "shipping": Fields({"name": Text(required=True)}, clearable=True),
        "hooks": Unsupported(),
    }
)


def parse(form: str) -> dict[str, Any]:
    return ACCEPTED.parse(forms.decode(form.encode()), "")


def test_brackets_make_nested_values() -> None:
    assert forms.decode(b"a=1&m[k]=v&m[k2][x]=y&l[]=p&l[]=q&i[1]=z&i[0]=w") == {
        "a": "1",
        "m": {"k": "v", "k2": {"x": "y"}},
        "l": {"0": "p", "1": "q"},
        "i": {"1": "z", "0": "w"},
    }


def test_percent_encoded_text_arrives_as_it_was() -> None:
    assert forms.decode(b"d=caf%C3%A9+%26+1%2B1") == {"d": "café & 1+1"}


@pytest.mark.parametrize(
    "body", ["a[=1", "a]=1", "[a]=1", "a[b]c=1", "a=1&a[b]=2", "d=%FF", "a" + "[x]" * 9 + "=1", "a=1&" * 1001]
)
def test_a_broken_form_is_refused(body: str) -> None:
    with pytest.raises(errors.InvalidParameter):
        forms.decode(body.encode())


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=5),
        st.recursive(
            st.text("aé&=[] +%", max_size=5),
            lambda inner: st.dictionaries(st.text("xyz", min_size=1, max_size=3), inner, min_size=1, max_size=3),
            max_leaves=5,
        ),
        max_size=4,
    )
)
def test_what_the_official_sdk_encodes_is_decoded_again(values: dict[str, Any]) -> None:
    assert forms.decode(urlencode(list(_api_encode(values))).encode()) == values


def test_given_parameters_become_typed_values() -> None:
    assert parse("amount=5&confirm=true&mode=slow&metadata[a]=b&expand[]=x&shipping[name]=n") == {
        "amount": 5,
        "confirm": True,
        "mode": "slow",
        "metadata": {"a": "b"},
        "expand": ["x"],
        "shipping": {"name": "n"},
    }


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ("amount=1&foo=1", "parameter_unknown", "foo"),
        ("amount=1&shipping[name]=n&shipping[foo]=1", "parameter_unknown", "shipping[foo]"),
        ("confirm=true", "parameter_missing", "amount"),
        ("amount=1&shipping[x]=", "parameter_unknown", "shipping[x]"),
        ("amount=", "parameter_invalid_empty", "amount"),
        ("amount=1.5", "parameter_invalid_integer", "amount"),
        ("amount=0", "parameter_invalid_integer", "amount"),
        ("amount[x]=1", "parameter_invalid_integer", "amount"),
        ("amount=²", "parameter_invalid_integer", "amount"),
        ("amount=1&confirm=yes", None, "confirm"),
        ("amount=1&mode=medium", None, "mode"),
        ("amount=1&expand=x", None, "expand"),
        ("amount=1&expand[]=toolong", "parameter_invalid_string", "expand[0]"),
        ("amount=1&metadata[" + "k" * 41 + "]=v", None, "metadata[" + "k" * 41 + "]"),
        ("amount=1&metadata[k]=" + "v" * 501, None, "metadata[k]"),
        ("amount=1&hooks[x]=1", None, "hooks"),
    ],
)
def test_a_wrong_parameter_is_named(form: str, code: str | None, param: str) -> None:
    with pytest.raises(errors.InvalidParameter) as refused:
        parse(quote(form, safe="&=[]"))
    assert (refused.value.code, refused.value.param) == (code, param)


def test_the_empty_string_unsets_what_may_be_unset() -> None:
    assert parse("amount=1&shipping=&metadata=") == {"amount": 1, "shipping": None, "metadata": None}


@pytest.mark.parametrize(
    ("changes", "result"),
    [({"a": "", "c": "3"}, {"b": "2", "c": "3"}), (None, {}), ({}, {"a": "1", "b": "2"})],
)
def test_metadata_is_merged_and_an_empty_value_removes_its_key(changes: Any, result: dict[str, str]) -> None:
    assert merged({"a": "1", "b": "2"}, changes) == result


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (50, "usd"),
        (99_999_999, "usd"),
        (50, "jpy"),
        (6_550, "htg"),
        (99_999_999, "htg"),
        (1_000, "kwd"),
        (500_000, "ugx"),
    ],
)
def test_amounts_within_the_limits_of_their_currency_are_accepted(amount: int, currency: str) -> None:
    currencies.check_amount(amount, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "amount_too_small"),
        (0, "usd", "amount_too_small"),
        (-1, "usd", "amount_too_small"),
        (6_549, "htg", "amount_too_small"),
        (100_000_000, "usd", "amount_too_large"),
        (1_001, "kwd", "parameter_invalid_integer"),
        (500_001, "ugx", "parameter_invalid_integer"),
        (50, "xxx", None),
    ],
)
def test_amounts_beyond_the_limits_of_their_currency_are_refused(amount: int, currency: str, code: str | None) -> None:
    with pytest.raises(errors.InvalidParameter) as refused:
        currencies.check_amount(amount, currency)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("amount", "currency", "cents"),
    [(1_000, "usd", 1_000), (13_100, "htg", 10_000 // 100), (148, "jpy", 100), (-13_100, "htg", -100)],
)
def test_amounts_are_converted_by_the_fixed_rate(amount: int, currency: str, cents: int) -> None:
    assert currencies.known(currency).to_settlement(amount) == cents
