"""What services say is wrong with a field, as their code has it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import payments_service.servicer
import wallets_service.server
from gateway import names
from kobklein import contract

ROOT = Path(__file__).parents[2]
SERVICES = (*payments_service.servicer.SERVICES, *wallets_service.server.SERVICES)


def test_services_name_no_field_that_requests_do_not_have() -> None:
    """The gateway shows names of fields as its clients know them; others would reach them in the spelling of protos."""
    fields = {
        name
        for method in contract.methods(SERVICES).values()
        for name in names.json_names(method.descriptor.input_type)
    }
    said = [
        text for folder in ("kobklein", "payments_service", "wallets_service") for text in descriptions(ROOT / folder)
    ]
    named = {name for text in said for name in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", text)}
    assert {"from_time", "floor_amount"} <= named <= fields


def descriptions(folder: Path) -> Iterator[str]:
    """Yield the constant parts of what is said of fields."""
    for path in folder.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and re.search(r"(InvalidArgument\.of|Violation)$", ast.unparse(call.func)):
                parts = (part for argument in call.args[1:] for part in ast.walk(argument))
                yield from (
                    part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
