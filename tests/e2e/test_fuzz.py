"""Everything that the API's own description allows, and much that it forbids, is answered as the description says."""

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import ignored_auth, unsupported_method

from deploy.local import stack as local
from tests.e2e import system

EXAMPLES = 25


@pytest.fixture(scope="session")
def api(stack: local.Stack) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{stack.gateway_url}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
def test_every_answer_is_one_that_the_description_promises(case: schemathesis.Case, client: system.Client) -> None:
    headers = {"Authorization": f"Bearer {client.token('fuzzer-1', 'user', 'admin')}"}
    case.call_and_validate(headers=headers, excluded_checks=[ignored_auth, unsupported_method], timeout=30)
