"""Everything that the API's own description allows, and much that it forbids, is answered as the description says."""

import re

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks

from deploy.local import stack as local
from tests.e2e import system
from tests.e2e.test_authorisation import ROUTED, routes

EXAMPLES = 50
LEFT_OUT = frozenset(
    {
        "ignored_auth",  # The authorisation matrix does the same for every kind of caller.
        "unsupported_method",  # The gateway's own tests prove 405 and its Allow header.
        "positive_data_acceptance",  # Page tokens, signatures and rules across fields are more than a schema can say.
    }
)
OPERATIONS = sorted({(verb, path) for method in ROUTED.values() for verb, path, _ in routes(method)})


def shape(path: str) -> str:
    """Return a path without the names of its variables; in the description, paths of one shape share them."""
    return re.sub(r"{[^}]*}", "{}", path)


@pytest.fixture(scope="module")
def api(stack: local.Stack) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{stack.gateway_url}/openapi.json")


def test_the_description_has_every_operation_of_the_contract_and_the_webhook(stack: local.Stack) -> None:
    described = httpx.get(f"{stack.gateway_url}/openapi.json").json()["paths"]
    there = {(verb.upper(), shape(path)) for path, item in described.items() for verb in item if verb != "parameters"}
    assert {(verb, shape(path)) for verb, path in OPERATIONS} | {("POST", "/payments/stripe/webhook")} <= there


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("verb", "path"), [*OPERATIONS, ("POST", "/payments/stripe/webhook")])
def test_every_answer_is_one_that_the_description_promises(
    api: schemathesis.BaseSchema, client: system.Client, verb: str, path: str
) -> None:
    watch = path.endswith(":watch")
    seconds = "500m" if watch else "20S"  # A watch goes on for as long as it may; one without an event is then a 504.
    headers = {"Authorization": f"Bearer {client.token('fuzzer-1', 'user', 'admin')}", "Grpc-Timeout": seconds}
    operation = next(api[described] for described in api if shape(described) == shape(path))[verb]
    load_all_checks()
    left_out = [CHECKS.get_one(name) for name in (*LEFT_OUT, *(["not_a_server_error"] if watch else []))]

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy())
    def probe(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(headers=headers, excluded_checks=left_out, timeout=30)
        assert answer.status_code < 500 or (watch and answer.status_code == 504)

    probe()
