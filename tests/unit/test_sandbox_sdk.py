"""The sandbox's tables are those of the official SDK's types."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe

from deploy.sandbox import event_types, expansions

SDK = Path(stripe.__file__).parent
NOT_SIMULATED = ("bancontact", "ideal", "sofort", "sepa_debit")
"""Payment methods whose details no object of the sandbox has."""
CLASSES = {
    "payment_intent": "PaymentIntent",
    "charge": "Charge",
    "refund": "Refund",
    "dispute": "Dispute",
    "setup_intent": "SetupIntent",
    "payment_method": "PaymentMethod",
    "balance_transaction": "BalanceTransaction",
    "customer": "Customer",
}


def expandable(kind: ast.ClassDef, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the members of an SDK's class that are typed as expandable, also those of the classes in it."""
    inner = {node.name: node for node in kind.body if isinstance(node, ast.ClassDef)}
    for node in kind.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        names = {each.id for each in ast.walk(node.annotation) if isinstance(each, ast.Name)}
        if "ExpandableField" in names:
            yield ".".join((*path, node.target.id))
        for name in names & inner.keys():
            yield from expandable(inner[name], (*path, node.target.id))


@pytest.mark.parametrize("kind", CLASSES)
def test_what_the_sdk_types_as_expandable_can_be_expanded(kind: str) -> None:
    tree = ast.parse((SDK / f"_{kind}.py").read_text())
    (declared,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == CLASSES[kind])
    there = {path for path in expandable(declared) if not set(path.split(".")) & set(NOT_SIMULATED)}
    assert there == expansions.EXPANDABLE[kind]


def test_no_other_kind_of_object_has_expandable_members() -> None:
    assert expansions.EXPANDABLE.keys() == CLASSES.keys()


def test_endpoints_can_ask_for_the_events_that_the_sdk_knows() -> None:
    tree = ast.parse((SDK / "params" / "_webhook_endpoint_create_params.py").read_text())
    (annotation,) = (
        node.annotation
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "enabled_events"
    )
    names = {node.value for node in ast.walk(annotation) if isinstance(node, ast.Constant)}
    assert names - {"*"} == event_types.TYPES
