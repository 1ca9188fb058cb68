"""The errors of wallets_service.

Error
├── Refusal                    the ledger does not post a transfer; it has left no trace
│   ├── InsufficientFunds      the paying account would fall below its floor
│   ├── AccountFrozen          no money may move for now
│   ├── AccountClosed          no money may move again
│   ├── SameAccount            a transfer needs two accounts
│   ├── AmountOverflow         a balance would leave the range of 64 bits
│   └── TransferIdReused       the id belongs to a transfer with other content
├── AccountExists              the account is there, with another overdraft limit
├── AccountNotFound
├── WalletExists
├── WalletNotFound             missing, or somebody else's: a caller cannot tell which
├── TransactionNotFound        likewise
└── LedgerBusy                 too many transfers wait; nothing was done
"""

import grpc

from kobklein import errors


class Refusal(errors.Error):
    """Why the ledger does not post a transfer; a result of its own transfer, never of its neighbours."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "the transfer is refused"


class InsufficientFunds(Refusal):
    """The paying account would fall below its floor."""

    message = "{account} has too little money in {currency} to pay {amount} minor units"


class AccountFrozen(Refusal):
    """No money may move for now."""

    message = "{account} is frozen in {currency}"


class AccountClosed(Refusal):
    """No money may move again."""

    message = "{account} is closed in {currency}"


class SameAccount(Refusal):
    """A transfer needs two accounts."""

    message = "{account} cannot pay itself"


class AmountOverflow(Refusal):
    """A balance would leave the range of 64 bits."""

    message = "{amount} minor units are more than the balance of {account} in {currency} can take"


class TransferIdReused(Refusal):
    """The id belongs to a transfer with other content."""

    message = "transfer {id} was posted before, with other content"


class AccountExists(errors.Error):
    """The account is there, with another overdraft limit."""

    code = grpc.StatusCode.ALREADY_EXISTS
    message = "{account} exists in {currency} with another overdraft limit"


class AccountNotFound(errors.Error):
    """No such account."""

    code = grpc.StatusCode.NOT_FOUND
    message = "{account} has no account in {currency}"


class WalletExists(errors.Error):
    """The user has a wallet in this currency."""

    code = grpc.StatusCode.ALREADY_EXISTS
    message = "{user_id} has a wallet in {currency}"


class WalletNotFound(errors.Error):
    """No such wallet, or none that the caller may see."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no wallet {id}"


class TransactionNotFound(errors.Error):
    """No such transaction, or none that the caller may see."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no transaction {id}"


class LedgerBusy(errors.Error):
    """Too many transfers wait to be posted; this call was turned away before anything was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "too many transfers are waiting"
    retry_after_seconds = 1.0
