"""What callers see of accounts beside what the contract says of each call."""

from typing import Final

from kobklein import auth, calls, contract
from kobklein.wallets.v1 import ledger_pb2

_LEDGER: Final = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
_GET_ACCOUNT: Final = contract.methods([_LEDGER])[f"/{_LEDGER}/GetAccount"]


def wallets_only() -> bool:
    """Return whether the current caller sees only those accounts that are wallets, by whatever path they ask.

    Who may not get an account as such, as support may not, sees no balance, statement or transactions of it either.
    """
    return not auth.permits(_GET_ACCOUNT, calls.current().caller)
