"""The cost of what clients send is linear in its length, and its limits are told before it is read."""

import time
import timeit
from typing import Any

import orjson
import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import documents, reader
from gateway.violations import Violations
from kobklein import errors
from kobklein.payments.v1 import payments_pb2
from payments_service import messages
from tests import hostile
from tests.sizes import size

SMALL = 8 * 1024
LARGEST = 1024 * 1024
MEASURABLE_SECONDS = 0.002
UNBEARABLE_SECONDS = 2
FACTOR = 6
ATTEMPTS = 5
"""Other processes can spoil a measurement, but never make a quadratic reader pass: it takes sixteen times as long."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


def grows_linearly(attacked: hostile.Reader, fragment: str) -> bool:
    """Return whether four times the input takes at most FACTOR times the processor time, once it can be measured.

    Other processes, and input that no longer fits into a cache, can spoil a measurement; then longer input is tried.
    """
    length, long = SMALL, 0.0
    while 4 * length <= LARGEST and long < UNBEARABLE_SECONDS:
        short = hostile.seconds(attacked, attacked.text(fragment, length), times=3)
        if short >= MEASURABLE_SECONDS:
            long = hostile.seconds(attacked, attacked.text(fragment, 4 * length), times=3)
            if long <= FACTOR * short:
                return True
        length *= 2
    return long == 0


@pytest.mark.parametrize("name", hostile.READERS)
@settings(max_examples=size(5, 100), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_four_times_the_input_takes_at_most_six_times_the_time(name: str, data: st.DataObject) -> None:
    attacked = hostile.READERS[name]
    fragment = "".join(data.draw(st.lists(st.sampled_from(attacked.fragments), min_size=1, max_size=3)))
    assert any(grows_linearly(attacked, fragment) for _ in range(ATTEMPTS)), repr(fragment)


def test_the_attack_of_escaped_quotes_before_brackets_is_over_at_once() -> None:
    body = b'"' + b'\\"' * (512 * 1024) + b"[" * 33
    with pytest.raises(documents.Malformed, match="Unterminated string"):
        documents.parse(body)


@pytest.mark.parametrize(
    "body", [b"[" + b"1," * 8192 + b"1]", b"[" + b"[]," * 8192 + b"1]", b"{" + b'"a":1,' * 4096 + b'"b":1}']
)
def test_a_body_has_a_number_of_values_and_keys_that_is_refused_before_it_is_parsed(body: bytes) -> None:
    with pytest.raises(documents.Malformed, match="has more than 8192 values and keys"):
        documents.parse(body)


@pytest.mark.parametrize("marks", ["[1,2],{:}", '\\"[{', "\\\\"])
def test_marks_inside_of_strings_are_no_values(marks: str) -> None:
    text = marks * 8192
    assert documents.parse(b'{"a":"%s"}' % text.encode()) == {"a": text.replace('\\"', '"').replace("\\\\", "\\")}


def test_a_body_that_may_be_long_may_have_more_values() -> None:
    body = b"[" + b'"123456789",' * 20_000 + b"1]"
    assert len(documents.parse(body)) == 20_001


@pytest.mark.parametrize(
    "data", [[[]] * 3000, ["a" * 8190], {"a" * 5000: "b" * 5000}, ["\n" * 8192], [{"a": 1}] * 1200]
)
def test_free_data_that_is_too_long_is_refused_before_a_message_is_made_of_it(data: Any) -> None:
    message, found = payments_pb2.CreatePaymentRequest(), Violations()
    document = documents.parse(orjson.dumps({"metadata": {"a": data}}))
    reader.of(message.DESCRIPTOR)(message, document, "", found)
    assert found.found == [errors.Violation("metadata", "takes more than 8192 bytes")]
    assert len(message.metadata.fields) == 0


@given(data=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON))
def test_free_data_by_grpc_is_not_too_long_before_it_is_as_long_as_its_json(data: dict[str, Any]) -> None:
    struct = struct_pb2.Struct()
    struct.update(data)
    assert struct.ByteSize() <= 6 * len(orjson.dumps(data))


def test_free_data_by_grpc_that_is_too_long_is_refused_before_it_is_looked_at() -> None:
    request = payments_pb2.CreatePaymentRequest(amount=1, method=payments_pb2.PAYMENT_METHOD_CASH)
    request.metadata.update({"a": [1] * 100_000})

    def check() -> None:
        with pytest.raises(errors.InvalidArgument, match="metadata: takes more than 8192 bytes"):
            hostile.METHODS["/kobklein.payments.v1.PaymentsService/CreatePayment"].check(request)

    def write() -> None:
        json_format.MessageToJson(request)

    checked, written = (
        min(timeit.repeat(work, timer=time.process_time, number=1, repeat=3)) for work in (check, write)
    )
    assert checked < written / 3


@given(data=JSON)
def test_free_data_is_not_too_long_before_it_is_as_long_as_its_json(data: Any) -> None:
    text = orjson.dumps(data)
    assert not documents.is_longer(documents.parse(text), len(text))


@pytest.mark.parametrize(
    "names", [["a"] * 1000, [f"field_{number}" for number in range(1000)], ["a" * 10_000], ["a" * 1000] * 90]
)
def test_a_mask_without_measure_is_refused_by_grpc_as_well_and_the_refusal_arrives(names: list[str]) -> None:
    request = payments_pb2.UpdatePaymentRequest(id="0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10")
    request.payment.description = "x"
    request.update_mask.paths.extend(names)
    for refuse in (hostile.METHODS["/kobklein.payments.v1.PaymentsService/UpdatePayment"].check, messages.change):
        with pytest.raises(errors.InvalidArgument) as refused:
            refuse(request)
        assert {violation.field for violation in refused.value.violations} == {"update_mask"}
        assert travels(refused.value)


@pytest.mark.parametrize("text", ["x" * 100_000, "\u00e9" * 100_000, "\U0001f600" * 100_000])
def test_a_refusal_fits_into_the_metadata_that_it_travels_in(text: str) -> None:
    violations = [errors.Violation(f"{text}{number}", text) for number in range(1000)]
    assert travels(errors.InvalidArgument(*violations))
    assert travels(errors.Unavailable(part=text))


def travels(error: errors.Error) -> bool:
    """Whether a refusal is within 64 KiB: its status in base64, and its message with three characters for each byte."""
    status = errors.to_status(error)
    return 4 / 3 * status.ByteSize() + 3 * len(status.message.encode()) < 64 * 1024 - 1024
