"""Every RPC of the contract says who may call it."""

import math
from collections.abc import Iterator

import orjson
import pytest
from google.protobuf import descriptor, descriptor_pb2, descriptor_pool, struct_pb2

import payments_service.server  # It loads every service of the contract that SERVICES names.
import payments_service.servicer
import wallets_service.server
from gateway import examples
from kobklein import client, contract, pages, subjects, validation
from kobklein.payments.v1 import payments_pb2 as pb

SERVICE = "kobklein.payments.v1.PaymentsService"
SERVICES = (*payments_service.servicer.SERVICES, *wallets_service.server.SERVICES)
METHODS = contract.methods(SERVICES).values()
STRUCT = struct_pb2.Struct.DESCRIPTOR.full_name


def growth() -> int:
    """Return how many bytes free data takes on its way for each byte of JSON, at most."""
    digits = struct_pb2.Struct()  # Nothing grows more: two bytes of JSON each.
    digits.update({"a": [0] * 1000})
    return math.ceil(digits.ByteSize() / len(orjson.dumps({"a": [0] * 1000})))


def fields(message_type: descriptor.Descriptor, *, given: bool) -> Iterator[descriptor.FieldDescriptor]:
    """Yield the fields of a message and of those in it that are ours: all, or those that a request gives."""
    for field in message_type.fields:
        if given and validation.rules_of(field).output_only:
            continue
        yield field
        if field.message_type is not None and validation.holds_ours(field) and not validation.is_map(field):
            yield from fields(field.message_type, given=given)


def of_struct(field: descriptor.FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == STRUCT


def given() -> list[descriptor.FieldDescriptor]:
    """Return every field that requests give."""
    found = {each.full_name: each for method in METHODS for each in fields(method.descriptor.input_type, given=True)}
    return list(found.values())


def test_methods_carry_their_rules() -> None:
    method = contract.methods([SERVICE])[f"/{SERVICE}/CreatePayment"]
    assert method.own == {"user", "merchant", "distributor"}
    assert method.any == {"admin", "service"}
    assert not method.anonymous


def test_every_method_of_the_contract_may_be_repeated_and_those_that_are_not_bound_to_get_do_not_only_read() -> None:
    assert [method.path for method in METHODS if not method.repeatable] == []
    ledger = "/kobklein.wallets.v1.LedgerService"
    reads = {method.path for method in METHODS if method.reads}
    assert {f"/{SERVICE}/GetPayment", f"{ledger}/ListAccounts", f"{ledger}/VerifyLedger"} <= reads
    assert not reads & {f"/{SERVICE}/CreatePayment", f"{ledger}/PostTransfers", f"{ledger}/CreateAccount"}


def test_a_method_reads_and_writes_the_subject_of_its_request() -> None:
    method = contract.methods([SERVICE])[f"/{SERVICE}/ListPayments"]
    request = pb.ListPaymentsRequest()
    method.set_subject(request, "user-1")
    assert request.user_id == method.subject(request) == "user-1"


def test_a_method_without_rules_is_refused() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="unruled.proto", package="unruled", syntax="proto3")
    file.message_type.add(name="Nothing")
    file.service.add(name="Unruled").method.add(
        name="Call", input_type=".unruled.Nothing", output_type=".unruled.Nothing"
    )
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    with pytest.raises(ValueError, match=r"unruled\.Unruled\.Call"):
        contract.methods(["unruled.Unruled"])


def test_whatever_the_gateway_takes_is_no_longer_than_a_message_may_be() -> None:
    longest = max(method.rules.max_body_bytes for method in METHODS)
    assert 0 < longest * growth() < client.MAX_MESSAGE_BYTES


def test_all_free_data_of_requests_has_limits() -> None:
    rules = {each.full_name: validation.rules_of(each) for each in given() if of_struct(each)}
    assert "kobklein.wallets.v1.Account.metadata" in rules
    assert [name for name, rule in rules.items() if not (rule.max_items and rule.max_bytes)] == []
    maps = {each.full_name: validation.rules_of(each) for each in given() if validation.is_map(each)}
    assert [name for name, rule in maps.items() if not (rule.max_items and rule.max_length)] == []


def test_every_example_can_be_shown() -> None:
    kinds = [kind for method in METHODS for kind in (method.descriptor.input_type, method.descriptor.output_type)]
    shown = {field.full_name: examples.stated(field) for kind in kinds for field in fields(kind, given=False)}
    assert shown["kobklein.payments.v1.ListProviderEventsRequest.type"] == ["charge.refunded"]


def test_every_text_of_a_request_has_a_longest_length() -> None:
    texts = {
        each.full_name: validation.rules_of(each)
        for each in given()
        if each.type == descriptor.FieldDescriptor.TYPE_STRING and each.name != "currency"
    }
    endless = {
        name
        for name, rule in texts.items()
        if not (rule.max_length or rule.format) and (not rule.pattern or rule.pattern.endswith(("*", "+")))
    }
    assert endless == set()


def test_the_longest_page_is_no_longer_than_an_answer_may_be() -> None:
    free_data = growth() * max(validation.rules_of(each).max_bytes for each in given() if of_struct(each))
    all_else = 16 * 500  # Some of the longest texts, in the longest characters.
    sizes = {}
    for method in METHODS:
        size = method.descriptor.input_type.fields_by_name.get("page_size")
        if size is not None:
            structs = sum(map(of_struct, fields(method.descriptor.output_type, given=False)))
            sizes[method.path] = pages.MOST * (free_data * structs + all_else)
    assert len(sizes) > 5
    assert {path: longest for path, longest in sizes.items() if not 0 < longest < client.MAX_ANSWER_BYTES} == {}


def test_one_rule_says_what_users_are_called_in_fields_and_in_addresses() -> None:
    users, addresses = {"user_id", "to_user_id"}, {"debit_account", "credit_account", "address", "counterparty"}
    seen = set()
    for method in METHODS:
        for field in fields(method.descriptor.input_type, given=True):
            rules = validation.rules_of(field)
            if field.containing_type.name == "Account":  # Comes back as it was read.
                continue
            if field.name in users:
                assert (rules.pattern, rules.max_length) == (subjects.PATTERN, subjects.MAX_LENGTH), field.full_name
            elif field.name in addresses:
                pattern = f"[a-z]+(/{subjects.PATTERN})*"
                assert (rules.pattern, rules.max_length) == (pattern, len("distributor/") + 5 + 255), field.full_name
            else:
                continue
            seen.add(field.name)
    assert seen == users | addresses
