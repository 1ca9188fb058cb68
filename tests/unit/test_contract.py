"""Every RPC of the contract says who may call it."""

import math

import orjson
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2

from kobklein import client, contract
from kobklein.payments.v1 import payments_pb2 as pb
from wallets_service.server import SERVICES

SERVICE = "kobklein.payments.v1.PaymentsService"


def test_methods_carry_their_rules() -> None:
    method = contract.methods([SERVICE])[f"/{SERVICE}/CreatePayment"]
    assert method.own == {"user", "merchant", "distributor"}
    assert method.any == {"admin", "service"}
    assert not method.anonymous


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
    digits = struct_pb2.Struct()  # Nothing grows more: two bytes of JSON each.
    digits.update({"a": [0] * 1000})
    growth = math.ceil(digits.ByteSize() / len(orjson.dumps({"a": [0] * 1000})))
    longest = max(method.rules.max_body_bytes for method in contract.methods(SERVICES).values())
    assert 0 < longest * growth < client.MAX_MESSAGE_BYTES
