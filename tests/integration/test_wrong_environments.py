"""Processes that start with a wrong environment: a line for each variable, exit code 2, and nothing of its values."""

import os
import subprocess
import sys

import pytest

SECRET = "hunter2-planted"
SERVICE = {
    "DATABASE_URL": f"postgresql:{SECRET}",
    "PAGE_TOKEN_KEY": SECRET,
    "AUTH__HS256_SECRET": SECRET,
    "TLS__KEY_FILE": SECRET,
    "PROT": SECRET,
}
STRIPE = {"STRIPE__SECRET_KEY": f"sk_live_{SECRET}", "STRIPE__WEBHOOK_SECRETS": f'["whsec_{SECRET}"'}
OF_A_SERVICE = {
    "AUTH__HS256_SECRET",
    "DATABASE_URL",
    "PAGE_TOKEN_KEY",
    "PROT",
    "TLS__AUTHORITY_FILE",
    "TLS__CERTIFICATE_FILE",
}


@pytest.mark.parametrize(
    ("command", "wrong", "named"),
    [
        (
            "gateway",
            {"AUTH__HS256_SECRET": SECRET, "PROT": SECRET, "TRUSTED_PROXIES": SECRET, "RATES__STORAGE": SECRET},
            {"AUTH__HS256_SECRET", "PAYMENTS_TARGET", "PROT", "RATES__STORAGE", "TRUSTED_PROXIES", "WALLETS_TARGET"},
        ),
        (
            "payments_service serve",
            SERVICE | STRIPE,
            OF_A_SERVICE | {"SERVICE_KEY_FILE", "STRIPE__RETURN_URL", "STRIPE__WEBHOOK_SECRETS", "WALLETS_TARGET"},
        ),
        ("payments_service migrate", SERVICE | STRIPE, {"DATABASE_URL", "PROT"}),
        ("wallets_service serve", SERVICE | {"SEAL_KEY": SECRET}, OF_A_SERVICE | {"SEAL_KEY"}),
        ("wallets_service migrate", SERVICE | {"SEAL_KEY": SECRET}, {"DATABASE_URL", "PROT"}),
        *(
            (f"wallets_service {command}", SERVICE | {"SEAL_KEY": SECRET}, {"DATABASE_URL", "PROT", "SEAL_KEY"})
            for command in ("verify", "head", "trial-balance")
        ),
    ],
)
def test_a_process_names_each_wrong_variable_in_a_line_and_repeats_no_value(
    command: str, wrong: dict[str, str], named: set[str]
) -> None:
    module, *arguments = command.split()
    prefix = f"{module.removesuffix('_service').upper()}_"
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={"PATH": os.environ["PATH"], **{f"{prefix}{name}": value for name, value in wrong.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert sorted(line.partition(":")[0] for line in ended.stderr.splitlines()) == sorted(prefix + one for one in named)
    assert SECRET not in ended.stderr
