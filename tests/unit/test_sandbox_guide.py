"""The guide names everything that the sandbox offers."""

from pathlib import Path

import pytest

from deploy.sandbox import controls, instruments, operations
from deploy.sandbox.__main__ import main
from deploy.sandbox.engine import Engine
from deploy.sandbox.faults import Kind
from deploy.sandbox.settings import API_VERSION, Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()


@pytest.mark.parametrize("instrument", instruments.INSTRUMENTS, ids=lambda instrument: str(instrument.token))
def test_every_test_card_is_in_the_guide(instrument: instruments.Instrument) -> None:
    assert f"| `{instrument.token}` | {instrument.number} |" in GUIDE


async def test_every_control_is_in_the_guide() -> None:
    engine = Engine(Settings())
    missing = [
        f"{method} {route.path}"
        for route in controls.routes(engine)
        for method in (route.methods or set()) - {"HEAD"}
        if f"| `{method} {route.path.replace(':int', '')}` |" not in GUIDE
    ]
    engine.state.store.close()
    assert missing == []


def test_every_option_fault_and_resource_is_in_the_guide() -> None:
    options = {f"`--{name.replace('_', '-')}`" for name in main.__annotations__ if name != "return"}
    faults = {f"| `{kind.value}` |" for kind in Kind}
    resources = {f"`/v1/{operation.path.split('/')[2]}`" for operation in operations.OPERATIONS}
    variables = {"`SANDBOX_API_KEYS`", "`SANDBOX_WEBHOOK_SECRET`"}
    assert {name for name in options | variables | faults | resources | {API_VERSION} if name not in GUIDE} == set()
