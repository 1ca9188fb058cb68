"""What the documentation lists is what there is."""

import importlib
import pkgutil
import re
from pathlib import Path

import prometheus_client.metrics
import pydantic
import pytest

import gateway.settings
import kobklein
import payments_service.errors
import payments_service.servicer
import payments_service.settings
import wallets_service.commands
import wallets_service.errors
import wallets_service.metrics
import wallets_service.server
import wallets_service.settings
from gateway import bindings, problems, webhooks
from kobklein import contract, errors, settings
from tests import seal_oracle
from wallets_service.proof import chain

CHECKOUT = Path(__file__).parents[2]
PROCESSES = {
    "GATEWAY_": [gateway.settings.Settings],
    "PAYMENTS_": [payments_service.settings.Settings, settings.MigrationSettings],
    "WALLETS_": [wallets_service.settings.Settings, settings.MigrationSettings, wallets_service.commands.Settings],
}
PACKAGES = (kobklein, gateway, payments_service, wallets_service)
ABSTRACT = {errors.Error, wallets_service.errors.Refusal}
REFUSED = re.compile(r"[Rr]efused?\((\d{3}),")
"""Where the gateway refuses with a status of its own."""


def all_errors(root: type[errors.Error] = errors.Error) -> set[type[errors.Error]]:
    """Return every error that a module of the platform declares, wherever it stands."""
    for package in PACKAGES if root is errors.Error else ():
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" not in module.name:
                importlib.import_module(module.name)
    ours = tuple(f"{package.__name__}." for package in PACKAGES)
    below = {one for child in root.__subclasses__() for one in all_errors(child)}
    return {one for one in below | {root} if one.__module__.startswith(ours) and one not in ABSTRACT}


def test_the_catalogue_of_errors_is_complete() -> None:
    guide = (CHECKOUT / "docs" / "api.md").read_text()
    listed = re.findall(r"^\| ([A-Z_]+) \| (\d+) \| ([A-Z_]+|-) \|$", guide, re.MULTILINE)
    raised = {
        (errors.reason_of(one), str(one.http_status or errors.HTTP_STATUS[one.code]), one.code.name)
        for one in all_errors()
    }
    over_http = {(reason, str(status)) for status, reason in problems.REASONS.items()}
    over_http -= {(reason, status) for reason, status, _ in raised}
    assert set(listed) == raised | {(reason, status, "-") for reason, status in over_http}
    assert len({reason for reason, _, _ in listed}) == len(listed)


def test_each_status_that_the_gateway_refuses_with_has_a_reason_of_its_own() -> None:
    texts = [file.read_text() for file in (CHECKOUT / "gateway").glob("*.py")]
    statuses = {int(status) for text in texts for status in REFUSED.findall(text)}
    assert {404, 405, 408, 413, 415, 431, 499, 503} <= statuses <= set(problems.REASONS)
    assert set(errors.HTTP_STATUS.values()) | {problems.INTERNAL} <= set(problems.REASONS)


@pytest.mark.parametrize(
    ("ends", "http_status"),
    [
        (("_REUSED",), 422),
        (("_ENDED", "_EXPIRED", "_CLOSED", "_FROZEN", "_EXISTS", "_TAKEN", "_ACCEPTED", "_IN_USE", "_BUSY"), 409),
        (("_TOO_LARGE",), 504),
        (("_NOT_FOUND",), 404),
    ],
)
def test_the_same_mistake_has_the_same_http_status_wherever_it_is_made(ends: tuple[str, ...], http_status: int) -> None:
    apart = {"LEDGER_BUSY", "OVERDRAFT_IN_USE"}  # A queue that is full; an amount, and another one helps.
    found = {
        errors.reason_of(one): one.http_status or errors.HTTP_STATUS[one.code]
        for one in all_errors()
        if errors.reason_of(one).endswith(ends) and errors.reason_of(one) not in apart
    }
    assert set(found.values()) == {http_status}, found


@pytest.mark.parametrize("prefix", PROCESSES)
def test_the_example_of_the_environment_is_complete(prefix: str) -> None:
    example = (CHECKOUT / "deploy" / "env.example").read_text()
    listed = set(re.findall(rf"^#? ?({prefix}\w+)=", example, re.MULTILINE))
    assert listed == {variable for model in PROCESSES[prefix] for variable in variables(model, prefix)}


def test_every_test_that_the_guide_names_is_there() -> None:
    guide = (CHECKOUT / "docs" / "testing.md").read_text()
    named = re.findall(r"`((?:unit|integration|e2e)/[\w/]+\.py)(?:::(\w+))?(?:\[[^`]*\])?`", guide)
    texts = {file: (CHECKOUT / "tests" / file).read_text() for file, _ in named}
    assert len(named) > 150
    assert [(file, test) for file, test in named if test and f"def {test}(" not in texts[file]] == []


def test_every_metric_of_the_ledger_is_explained_to_operators() -> None:
    guide = (CHECKOUT / "docs" / "operations.md").read_text()
    listed = set(re.findall(r"`(wallets_\w+)`", guide.partition("## What to watch")[2].partition("\n## ")[0]))
    there = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for collector in vars(wallets_service.metrics).values()
        if isinstance(collector, prometheus_client.metrics.MetricWrapperBase)
        for metric in collector.collect()
    }
    assert listed == there


def variables(model: type[pydantic.BaseModel], prefix: str) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        nested = nested_model(field.annotation)
        variable = prefix + name.upper()
        found += variables(nested, f"{variable}__") if nested else [variable]
    return found


def nested_model(annotation: object) -> type[pydantic.BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
            return candidate
    return None


def test_whoever_proves_the_chain_from_the_documentation_hashes_what_the_service_hashes() -> None:
    guide = (CHECKOUT / "docs" / "decisions" / "ledger-seals.md").read_text()
    table = guide.partition("| columns | value |")[2].partition("\n\n")[0]
    documented = [
        name for row in re.findall(r"^\|([^|]+)\|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert documented == list(chain.COLUMNS) == list(seal_oracle.COLUMNS)


def test_the_table_of_routes_is_that_of_the_contract() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    table = readme.partition("\n## REST\n")[2].partition("\n\n## ")[0]
    names = re.compile(r"\{[^}]*\}")  # Paths name `limits.currency` what readers know as `currency`.
    listed = [names.sub("{}", route) for route in re.findall(r"`([A-Z]+ /[^`]+)`", table)]
    methods = contract.methods((*payments_service.servicer.SERVICES, *wallets_service.server.SERVICES)).values()
    there = [names.sub("{}", f"{each.http_method} {each.path}") for each in bindings.of(methods)]
    hooks = [f"POST {webhooks.path(provider)}" for provider in webhooks.SIGNATURE_HEADERS]
    assert sorted(listed) == sorted([*there, *hooks])
