"""The whole system as its users meet it: every process, over REST and gRPC."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import postgres as embedded
from deploy.local import stack as local
from tests.e2e import system

SUSPENDED = "user-suspended"


@pytest.fixture(scope="session")
def stack(postgres: embedded.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Stack]:
    """The running system, quick to repeat what failed and with budgets that tests do not use up."""
    folder = tmp_path_factory.mktemp("stack")
    revocations = folder / "revocations.json"
    revocations.write_text(json.dumps({"subjects": [SUSPENDED]}))
    with local.running(folder, database=postgres, environment=system.environment(revocations)) as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: local.Stack) -> Iterator[system.Client]:
    with system.Client(stack) as client:
        yield client


@pytest.fixture(scope="session")
def logs(stack: local.Stack) -> Path:
    """The folder of the processes' logs."""
    return stack.processes["gateway"].log.parent
