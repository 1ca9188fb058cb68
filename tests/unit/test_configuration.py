"""The message about a mistake in the configuration: the variable's own name and the rule, and never a value."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pydantic_settings
import pytest

import gateway.settings
import payments_service.settings
import wallets_service.commands
import wallets_service.settings
from deploy.local import identity, stack
from kobklein import configuration
from kobklein.settings import Group, Variables
from tests import certificates

CHECKOUT = Path(__file__).parents[2]
SECRET = "hunter2-planted"
PROCESSES: dict[str, type[Variables]] = {
    "GATEWAY_": gateway.settings.Settings,
    "PAYMENTS_": payments_service.settings.Settings,
    "WALLETS_": wallets_service.settings.Settings,
}
MIGRATIONS = {
    "PAYMENTS_": payments_service.settings.MigrationSettings,
    "WALLETS_": wallets_service.settings.MigrationSettings,
}
COMMANDS: list[type[Variables]] = [*PROCESSES.values(), *MIGRATIONS.values(), wallets_service.commands.Settings]
ALL = {**{str(each): each for each in COMMANDS}, "(make run)": stack.Environment}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys and certificates that a process can work with."""
    folder = tmp_path_factory.mktemp("files")
    identity.load(folder)
    authority = certificates.authority("ours")
    for name in ("one", "two"):
        certificates.certified(folder, name, authority)
    (folder / "other.json").write_text(json.dumps([SECRET]))
    return folder


@pytest.fixture
def good(files: Path) -> dict[str, str]:
    """The environment of the three processes, and nothing else."""
    service = {"DATABASE_URL": f"postgresql://app:{SECRET}@127.0.0.1/x", "PAGE_TOKEN_KEY": "00" * 32}
    needed = {
        "GATEWAY_": {"PAYMENTS_TARGET": "payments:1", "WALLETS_TARGET": "wallets:1"},
        "PAYMENTS_": service
        | {
            "STRIPE__SECRET_KEY": f"sk_test_{SECRET}",
            "STRIPE__WEBHOOK_SECRETS": f"whsec_{SECRET}",
            "STRIPE__RETURN_URL": "https://app.test/",
            "WALLETS_TARGET": "wallets:1",
            "SERVICE_KEY_FILE": str(files / "private.jwk"),
        },
        "WALLETS_": service,
    }
    return {
        f"{prefix}{name}": value
        for prefix, values in needed.items()
        for name, value in (values | {"AUTH__JWKS_FILE": str(files / "jwks.json")}).items()
    }


def told(monkeypatch: pytest.MonkeyPatch, settings: type[Variables], environment: dict[str, str]) -> list[str]:
    """Return the error of a process that starts with an environment; nothing if it can work with it."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        configuration.parse(settings)
    except configuration.Mistakes as mistakes:
        return str(mistakes).splitlines()
    return []


MISSING_OR_WRONG: list[tuple[dict[str, str | None], list[str]]] = [
    ({"GATEWAY_PAYMENTS_TARGET": None}, ["GATEWAY_PAYMENTS_TARGET: is missing"]),
    ({"GATEWAY_PAYMENTS_TARGET": ""}, ["GATEWAY_PAYMENTS_TARGET: is missing"]),
    (
        {"GATEWAY_PORT": SECRET},
        ["GATEWAY_PORT: must be a valid integer, unable to parse string as an integer"],
    ),
    ({"GATEWAY_PORT": "65536"}, ["GATEWAY_PORT: must be less than or equal to 65535"]),
    ({"GATEWAY_LOG_LEVEL": SECRET}, ["GATEWAY_LOG_LEVEL: must be debug, info, warning, error or critical"]),
    ({"GATEWAY_POTR": "99"}, ["GATEWAY_POTR: there is no such variable; did you mean GATEWAY_PORT?"]),
    ({"gateway_potr": "99"}, ["gateway_potr: there is no such variable; did you mean GATEWAY_PORT?"]),
    ({"GATEWAY_XYZ": SECRET}, ["GATEWAY_XYZ: there is no such variable"]),
    (
        {"GATEWAY_AUTH__ISUER": SECRET},
        ["GATEWAY_AUTH__ISUER: there is no such variable; did you mean GATEWAY_AUTH__ISSUER?"],
    ),
    (
        {"GATEWAY_RATES": SECRET, "GATEWAY_PORT": "-1"},
        [
            (
                "GATEWAY_RATES: there is no such variable; its parts are variables of their own, such as"
                " GATEWAY_RATES__STORAGE"
            )
        ],
    ),
    (
        {"GATEWAY_RATES": json.dumps({"reed": SECRET})},
        [
            (
                "GATEWAY_RATES: there is no such variable; its parts are variables of their own, such as"
                " GATEWAY_RATES__STORAGE"
            )
        ],
    ),
    (
        {"GATEWAY_RATES__READ": SECRET, "GATEWAY_RATES__STORAGE": f"async+memcached://{SECRET}"},
        [
            "GATEWAY_RATES__STORAGE: must be async+memory:// or a store that replicas share, such as async+redis://…",
            "GATEWAY_RATES__READ: must be a number of calls and a time, such as 600/minute",
        ],
    ),
    (
        {"GATEWAY_TRUSTED_PROXIES": f"10.0.0.0/8,{SECRET}"},
        ["GATEWAY_TRUSTED_PROXIES: item 2 must be a network, such as 10.0.0.0/8 or 2001:db8::/32"],
    ),
    ({"GATEWAY_CORS_ORIGINS": "a,,b"}, ["GATEWAY_CORS_ORIGINS: has an empty item"]),
    (
        {"GATEWAY_AUTH__JWKS_FILE": None},
        ["Exactly one of GATEWAY_AUTH__JWKS_URL, GATEWAY_AUTH__JWKS_FILE and GATEWAY_AUTH__HS256_SECRET is needed"],
    ),
    (
        {"GATEWAY_AUTH__HS256_SECRET": SECRET * 3},
        ["Exactly one of GATEWAY_AUTH__JWKS_URL, GATEWAY_AUTH__JWKS_FILE and GATEWAY_AUTH__HS256_SECRET is needed"],
    ),
    (
        {"GATEWAY_AUTH__JWKS_FILE": None, "GATEWAY_AUTH__HS256_SECRET": SECRET},
        ["GATEWAY_AUTH__HS256_SECRET: needs at least 32 characters"],
    ),
    (
        {"GATEWAY_AUTH__JWKS_FILE": None, "GATEWAY_AUTH__JWKS_URL": f"ftp://{SECRET}"},
        ["GATEWAY_AUTH__JWKS_URL: must be an http:// or https:// address"],
    ),
    (
        {"GATEWAY_AUTH__JWKS_FILE": f"/nowhere/{SECRET}", "GATEWAY_AUTH__REVOCATIONS_FILE": "/nowhere"},
        [
            "GATEWAY_AUTH__JWKS_FILE: there is no readable file of that name",
            "GATEWAY_AUTH__REVOCATIONS_FILE: there is no readable file of that name",
        ],
    ),
    (
        {"GATEWAY_AUTH__JWKS_FILE": "{files}/other.json"},
        ["GATEWAY_AUTH__JWKS_FILE: the file holds no JWK set with a usable key"],
    ),
    (
        {"GATEWAY_HTTPS_KEY_FILE": "{files}/one.key"},
        ["GATEWAY_HTTPS_CERTIFICATE_FILE and GATEWAY_HTTPS_KEY_FILE go together"],
    ),
    (
        {"GATEWAY_HTTPS_CERTIFICATE_FILE": "{files}/one.pem", "GATEWAY_HTTPS_KEY_FILE": "{files}/two.key"},
        [
            (
                "GATEWAY_HTTPS_CERTIFICATE_FILE and GATEWAY_HTTPS_KEY_FILE must name a certificate and its private key,"
                " as PEM and without a password"
            )
        ],
    ),
    (
        {"GATEWAY_ENVIRONMENT": "production"},
        [
            (
                "GATEWAY_TLS__CERTIFICATE_FILE, GATEWAY_TLS__KEY_FILE and GATEWAY_TLS__AUTHORITY_FILE are needed in"
                " production"
            )
        ],
    ),
    ({"PAYMENTS_DATABASE_URL": None}, ["PAYMENTS_DATABASE_URL: is missing"]),
    ({"PAYMENTS_PAGE_TOKEN_KEY": SECRET}, ["PAYMENTS_PAGE_TOKEN_KEY: must be 32 bytes in hexadecimal"]),
    (
        {"PAYMENTS_STRIPE__WEBHOOK_SECRETS": f"whsec_{SECRET}, "},
        ["PAYMENTS_STRIPE__WEBHOOK_SECRETS: has an empty item"],
    ),
    (
        {"PAYMENTS_STRIPE__WEBHOOK_SECRETS": f'["whsec_{SECRET}"'},
        ["PAYMENTS_STRIPE__WEBHOOK_SECRETS: begins with [ and is not JSON: write a,b or a JSON list"],
    ),
    (
        {"PAYMENTS_STRIPE__WEBHOOK_SECRETS": f'["whsec_{SECRET}", " "]'},
        ["PAYMENTS_STRIPE__WEBHOOK_SECRETS: item 2 is blank"],
    ),
    (
        dict.fromkeys(
            ("PAYMENTS_STRIPE__SECRET_KEY", "PAYMENTS_STRIPE__WEBHOOK_SECRETS", "PAYMENTS_STRIPE__RETURN_URL")
        ),
        [
            "PAYMENTS_STRIPE__SECRET_KEY: is missing",
            "PAYMENTS_STRIPE__WEBHOOK_SECRETS: is missing",
            "PAYMENTS_STRIPE__RETURN_URL: is missing",
        ],
    ),
    (
        {"PAYMENTS_STRIPE__SECRET_KEY": f"sk_live_{SECRET}"},
        ["PAYMENTS_STRIPE__SECRET_KEY is a live key, and live keys need PAYMENTS_ENVIRONMENT=production"],
    ),
    (
        {"PAYMENTS_ENVIRONMENT": "production"},
        [
            (
                "PAYMENTS_TLS__CERTIFICATE_FILE, PAYMENTS_TLS__KEY_FILE and PAYMENTS_TLS__AUTHORITY_FILE are needed in"
                " production"
            ),
            "PAYMENTS_REFLECTION must be false in production",
            "PAYMENTS_ENVIRONMENT is production, which needs a live key in PAYMENTS_STRIPE__SECRET_KEY",
        ],
    ),
    (
        {"PAYMENTS_MONEY_PATH__LEASE_SECONDS": "1", "PAYMENTS_MONEY_PATH__CALL_LEASE_SECONDS": "1"},
        [
            "PAYMENTS_MONEY_PATH__LEASE_SECONDS must be more than PAYMENTS_MONEY_PATH__PROVIDER_SECONDS",
            "PAYMENTS_MONEY_PATH__CALL_LEASE_SECONDS must be more than PAYMENTS_MONEY_PATH__ANSWER_SECONDS",
        ],
    ),
    (
        {"PAYMENTS_SERVICE_KEY_FILE": "{files}/absent"},
        ["PAYMENTS_SERVICE_KEY_FILE: there is no readable file of that name"],
    ),
    (
        {"PAYMENTS_SERVICE_KEY_FILE": "{files}/jwks.json"},
        ["PAYMENTS_SERVICE_KEY_FILE: the file holds no private JWK"],
    ),
    (
        {
            "WALLETS_TLS__CERTIFICATE_FILE": "{files}/one.pem",
            "WALLETS_TLS__KEY_FILE": "{files}/two.key",
            "WALLETS_TLS__AUTHORITY_FILE": "{files}/one.key",
        },
        [
            (
                "WALLETS_TLS__CERTIFICATE_FILE and WALLETS_TLS__KEY_FILE must name a certificate and its private key,"
                " as PEM and without a password"
            ),
            "WALLETS_TLS__AUTHORITY_FILE: the file holds no certificate as PEM",
        ],
    ),
    (
        {"WALLETS_TLS__KEY_FILE": "{files}/two.key"},
        ["WALLETS_TLS__CERTIFICATE_FILE: is missing", "WALLETS_TLS__AUTHORITY_FILE: is missing"],
    ),
    ({"WALLETS_SEAL_KEY": SECRET}, ["WALLETS_SEAL_KEY: must be 32 bytes in hexadecimal"]),
    (
        {"WALLETS_TIME_ZONE": SECRET},
        ["WALLETS_TIME_ZONE: must be the name of a time zone, such as America/Port-au-Prince"],
    ),
    (
        {"WALLETS_RATE_SOURCE__AUTHORIZATION": SECRET},
        ["WALLETS_RATE_SOURCE__URL: is missing", "WALLETS_RATE_SOURCE__SPREAD_PARTS_PER_MILLION: is missing"],
    ),
]


@pytest.mark.parametrize(("changes", "lines"), MISSING_OR_WRONG)
def test_a_mistake_is_told_by_the_names_of_variables(
    monkeypatch: pytest.MonkeyPatch,
    files: Path,
    good: dict[str, str],
    changes: dict[str, str | None],
    lines: list[str],
) -> None:
    prefix = next(prefix for prefix in PROCESSES if min(changes).upper().startswith(prefix))
    changed = {name: value and value.replace("{files}", str(files)) for name, value in changes.items()}
    environment = {name: value for name, value in (good | changed).items() if value is not None}
    assert told(monkeypatch, PROCESSES[prefix], environment) == lines


@pytest.mark.parametrize("prefix", PROCESSES)
def test_keys_come_over_https_in_production(
    monkeypatch: pytest.MonkeyPatch, files: Path, good: dict[str, str], prefix: str
) -> None:
    strict = {
        "ENVIRONMENT": "production",
        "AUTH__JWKS_URL": "https://keys.test/",
        "TLS__CERTIFICATE_FILE": str(files / "one.pem"),
        "TLS__KEY_FILE": str(files / "one.key"),
        "TLS__AUTHORITY_FILE": str(files / "one.ca"),
    }
    own = {
        "GATEWAY_": {},
        "PAYMENTS_": {"REFLECTION": "false", "STRIPE__SECRET_KEY": "sk_live_x"},
        "WALLETS_": {"REFLECTION": "false", "SEAL_KEY": "11" * 32},
    }[prefix]
    environment = good | {f"{prefix}{name}": value for name, value in (strict | own).items()}
    del environment[f"{prefix}AUTH__JWKS_FILE"]
    assert told(monkeypatch, PROCESSES[prefix], environment) == []
    plain = environment | {f"{prefix}AUTH__JWKS_URL": "http://keys.test/"}
    assert told(monkeypatch, PROCESSES[prefix], plain) == [f"{prefix}AUTH__JWKS_URL must be https in production"]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql:/{SECRET}",
        f"mysql://app:{SECRET}@db/x",
        f"postgresql://app:{SECRET}/@db/x",
        f"postgresql://app:{SECRET}%zz@db/x",
        f"postgresql://app:{SECRET}@db:port/x",
        f"postgresql://app:{SECRET} @db/x",
        f"host=db password={SECRET}",
        SECRET,
    ],
)
def test_a_database_url_that_cannot_be_read_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, good: dict[str, str], url: str
) -> None:
    rule = "must be of the form postgresql://role:password@host:5432/database"
    lines = told(monkeypatch, PROCESSES["WALLETS_"], good | {"WALLETS_DATABASE_URL": url})
    assert lines == [f"WALLETS_DATABASE_URL: {rule}"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/x",
        "postgres://app@db",
        "postgresql://app:p%40ss#word@[::1]:5432/x?sslmode=verify-full",
        "postgresql://app:pass@/x?host=/run/postgresql",
        "postgresql://app:pass@db1:5432,db2:5432,[::1]/x?target_session_attrs=read-write",
    ],
)
def test_a_database_url_that_can_be_read_is_taken(
    monkeypatch: pytest.MonkeyPatch, good: dict[str, str], url: str
) -> None:
    assert told(monkeypatch, PROCESSES["WALLETS_"], good | {"WALLETS_DATABASE_URL": url}) == []


@pytest.mark.parametrize("prefix", PROCESSES)
def test_whatever_a_variable_is_set_to_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, good: dict[str, str], prefix: str
) -> None:
    settings = PROCESSES[prefix]
    for value in (SECRET, f"[{SECRET}", f'["{SECRET}"]', f"{{{SECRET}}}", "9" * 5_000 + SECRET, f"\x85{SECRET}"):
        planted = dict.fromkeys(configuration.variables(settings, prefix), value)
        lines = told(monkeypatch, settings, good | planted)
        assert len(lines) > 20
        for line in lines:
            assert re.match(rf"(Exactly one of )?{prefix}[A-Z0-9_]+", line), line
            assert not re.search(rf"{SECRET}|pydantic|999", line), line


def test_a_value_for_a_mapping_that_is_no_json_names_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mapped(Variables):
        model_config = pydantic_settings.SettingsConfigDict(env_prefix="MAPPED_")
        names: dict[str, str]

    [line] = told(monkeypatch, Mapped, {"MAPPED_NAMES": SECRET})
    assert "names" in line
    assert SECRET not in line


def groups(settings: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    yield settings
    for field in settings.model_fields.values():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
                yield from groups(candidate)


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_every_rule_between_variables_names_them_and_no_error_repeats_a_value(settings: type[Variables]) -> None:
    for group in groups(settings):
        assert issubclass(group, Group)
        assert group.model_config.get("hide_input_in_errors") is True
        assert set(group.__pydantic_decorators__.model_validators) == {"_rules_hold"}, "belongs in broken_rules"


@pytest.mark.parametrize("settings", COMMANDS)
def test_the_example_of_the_environment_shows_the_defaults(
    monkeypatch: pytest.MonkeyPatch, good: dict[str, str], settings: type[Variables]
) -> None:
    example, prefix = (CHECKOUT / "deploy" / "env.example").read_text(), settings.model_config["env_prefix"]
    known = set(configuration.variables(settings, prefix))
    shown = dict(re.findall(rf"^# ({prefix}\w+)=(.+)$", example, re.MULTILINE))
    defaults = {name: shown[name] for name in known & set(shown) if "RATE_SOURCE" not in name}  # Off by default.
    needed = {name: good[name] for name in known & set(good)}

    def read(environment: dict[str, str]) -> Any:
        assert told(monkeypatch, settings, environment) == []
        return configuration.parse(settings)

    assert read(needed | defaults) == read(needed)
