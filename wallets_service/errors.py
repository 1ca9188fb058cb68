"""The errors of wallets_service.

Error
├── Refusal                    the ledger does not post a transfer; it has left no trace
│   ├── InsufficientFunds      the paying account would fall below its floor
│   ├── LimitExceeded          more than may leave the account at once, in a day or in a month
│   ├── AccountFrozen          no money may move this way for now; the status says which way
│   ├── AccountClosed          no money may move again
│   ├── SameAccount            a transfer needs two accounts
│   ├── PayeeIsNew             the payee has no wallet, and the caller did not say that they are new
│   ├── AmountOverflow         a balance would leave the range of 64 bits
│   ├── TransferIdReused       the id belongs to a transfer with other content
│   ├── TransferTooLate        it was only to be posted until a time that is over
│   ├── EffectiveTimeNotPast   it would count from a time that is not past yet
│   ├── LinkedTransferRefused  another one of its group is refused
│   ├── HoldNotFound
│   ├── HoldIdReused           the id belongs to a hold with other content
│   ├── HoldEnded              nothing is held any more
│   ├── HoldExceeded           more than is still held
│   ├── TooManyHolds           so many holds of the account are open already
│   ├── HoldOfOtherAccounts    the hold is between other accounts
│   ├── HoldHasFee             it changes only together with the hold of its fee
│   ├── OriginalNotFound       there is no transfer to take back
│   ├── NotReversible          it cannot be taken back like this
│   └── ReversalExceeded       more than is not taken back yet
├── CounterpartyUnavailable    what is refused for an account that is not the caller's, as the caller is told
├── AccountExists              the account is there, with another overdraft limit
├── AccountNotFound
├── AccountNotEmpty            only an account without money can be closed
├── AccountInUse               others need it to stay open
├── OverdraftInUse             more of the overdraft is used than the new limit allows
├── WalletExists
├── WalletNotFound             missing, or somebody else's: a caller cannot tell which
├── TransactionNotFound        likewise
├── TransferNotFound           likewise
├── NotAcceptable              a file is not made in any of the forms that the caller takes
├── FeeNotFound                this kind of transfer costs nothing in this currency
├── ConversionNotOffered       there is no rate for these currencies
├── RateStale                  the rates are too old to be used
├── RateNotFound               no rate is set for these currencies
├── QuoteNotFound              missing, or somebody else's: a caller cannot tell which
├── QuoteExpired               its time is over
├── QuoteAlreadyAccepted       by another call than this one
├── LedgerBusy                 too many transfers wait; nothing was done
└── LedgerTooLarge             a report on the whole ledger takes longer than the call may last
"""

import grpc

from kobklein import errors, money
from wallets_service import addresses


class Refusal(errors.Error):
    """Why the ledger does not post a transfer; a result of its own transfer, never of its neighbours."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "the transfer is refused"

    def shown_to(self, owner: str | None) -> errors.Error:
        """Return the refusal, but to a user who is refused for an account of somebody else nothing of that account.

        Whether it is frozen or closed, and what it holds, is not theirs to know, and a dry run would tell it for free.
        """
        account = self.metadata.get("account")
        if owner is None or account is None or account == addresses.USERS + owner:
            return self
        return CounterpartyUnavailable()


class InsufficientFunds(Refusal):
    """The paying account would fall below its floor; amounts are minor units, and read as decimals.

    What is needed has the fee in it, if there is one.
    """

    message = "{account} has {available} {currency} available, {held} held, and needs {needed}"

    def __init__(self, *, account: str, currency: str, available: int, held: int, needed: int, fee: int = 0) -> None:
        self.currency, self.available_amount, self.held_amount, self.needed_amount = currency, available, held, needed
        super().__init__(
            account=account,
            currency=currency,
            available=money.render(available, currency),
            held=money.render(held, currency),
            needed=money.render(needed, currency),
        )
        if fee:
            self.metadata["fee"] = money.render(fee, currency)
            self.args = (f"{self}, of which {self.metadata['fee']} are its fee",)


class LimitExceeded(Refusal):
    """More than may leave the account at once, in a day or in a month; `limit` and `used` are minor units."""

    message = "{account} may pay {limit} {currency} a {period}, and {used} is used"

    def __init__(self, *, account: str, currency: str, period: str, limit: int, used: int) -> None:
        self.period, self.limit_amount, self.used_amount = period, limit, used
        super().__init__(
            account=account,
            currency=currency,
            period=period,
            limit=money.render(limit, currency),
            used=money.render(used, currency),
        )


class AccountFrozen(Refusal):
    """No money may move this way for now; `status` is the account's, and says which ways are stopped."""

    message = "{account} is frozen in {currency}: its status is {status}"
    http_status = 409


class AccountClosed(Refusal):
    """No money may move again."""

    message = "{account} is closed in {currency}"
    http_status = 409


class SameAccount(Refusal):
    """A transfer needs two accounts."""

    message = "{account} cannot pay itself"


class PayeeIsNew(Refusal):
    """The payee has no wallet in any currency, and the caller did not say that they are a new user."""

    message = 'user {to_user_id} has no wallet yet: check the id, and give "toNewUser": true to pay a new user'


class AmountOverflow(Refusal):
    """A balance would leave the range of 64 bits."""

    message = "{amount} minor units are more than the balance of {account} in {currency} can take"


class TransferIdReused(Refusal):
    """The id belongs to a transfer with other content."""

    message = "transfer {id} was posted before, with other content"
    http_status = 422


class TransferTooLate(Refusal):
    """It was only to be posted until a time that is over."""

    message = "transfer {id} comes too late"


class EffectiveTimeNotPast(Refusal):
    """It would count from a time that is not past yet."""

    message = "transfer {id} may only count from a time that is past"


class LinkedTransferRefused(Refusal):
    """Another one of its group is refused."""

    message = "not posted, since {id} of the same group is refused"


class HoldNotFound(Refusal):
    """No such hold, or none that the caller may see."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no hold {id}"


class HoldIdReused(Refusal):
    """The id belongs to a hold with other content."""

    message = "hold {id} was made before, with other content"
    http_status = 422


class HoldEnded(Refusal):
    """Nothing is held any more."""

    message = "hold {id} has ended: it is {status}"
    http_status = 409


class HoldExceeded(Refusal):
    """More than is still held; `remaining` is minor units."""

    message = "hold {id} has {remaining} {currency} left"

    def __init__(self, *, id: str | None, currency: str, remaining: int) -> None:  # noqa: A002  # as elsewhere
        super().__init__(id=id, currency=currency, remaining=money.render(remaining, currency))


class TooManyHolds(Refusal):
    """No account may have more holds open."""

    message = "account {account} has {limit} holds open in {currency} already"


class HoldOfOtherAccounts(Refusal):
    """The hold is between other accounts."""

    message = "hold {id} is between other accounts"


class HoldHasFee(Refusal):
    """The hold has a fee or is one, and neither of the two changes without the other."""

    message = "hold {id} is posted and given back only together with the hold of its fee"


class OriginalNotFound(Refusal):
    """There is no transfer to take back."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no transfer {id} to take back"


class NotReversible(Refusal):
    """It cannot be taken back like this."""

    message = "transfer {id} cannot be taken back: {why}"
    http_status = 409


class ReversalExceeded(Refusal):
    """More than is not taken back yet; amounts are minor units."""

    message = "of transfer {id}, {reversible} {currency} can be taken back, not {amount}"

    def __init__(self, *, id: str, currency: str, reversible: int, amount: int) -> None:  # noqa: A002  # as elsewhere
        super().__init__(
            id=id,
            currency=currency,
            reversible=money.render(reversible, currency),
            amount=money.render(amount, currency),
        )


class CounterpartyUnavailable(errors.Error):
    """The other side cannot take part in this now; why, and which account it is, stays in the log."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "the other side cannot take part in this for now"
    http_status = 409


class AccountExists(errors.Error):
    """The account is there, with another overdraft limit."""

    code = grpc.StatusCode.ALREADY_EXISTS
    message = "{account} exists in {currency} with another overdraft limit"


class AccountNotFound(errors.Error):
    """No such account: neither by its id, nor by its address and currency."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no account {account}"


class AccountNotEmpty(errors.Error):
    """Only an account without money can be closed; amounts are minor units."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "{account} cannot be closed: its balance is {balance} {currency}, and {held} of it are held"
    http_status = 409

    def __init__(self, *, account: str, currency: str, balance: int, held: int) -> None:
        super().__init__(
            account=account,
            currency=currency,
            balance=money.render(balance, currency),
            held=money.render(held, currency),
        )


class AccountInUse(errors.Error):
    """Others need the account, so it cannot be closed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "{account} cannot be closed in {currency}: {why}"
    http_status = 409


class OverdraftInUse(errors.Error):
    """More of the overdraft is used than the new limit allows; `used` is minor units."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "{account} uses {used} {currency} of its overdraft: its limit cannot be lower"

    def __init__(self, *, account: str, currency: str, used: int) -> None:
        super().__init__(account=account, currency=currency, used=money.render(used, currency))


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


class TransferNotFound(errors.Error):
    """No such transfer, or none that the caller may see."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no transfer {id}"


class NotAcceptable(errors.Error):
    """A file is not made in any of the media types that the caller's `Accept` names."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    message = "a statement is made as {offered}, and Accept takes neither: {accept}"
    http_status = 406


class FeeNotFound(errors.Error):
    """This kind of transfer costs nothing in this currency."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no fee for {type} in {currency}"


class ConversionNotOffered(errors.Error):
    """There is no rate for these currencies, or none at which the platform does not lose."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "{sell_currency} is not changed into {buy_currency}"


class RateStale(errors.Error):
    """The rates of a source are too old to be used, or were not read yet; nothing was done."""

    code = grpc.StatusCode.UNAVAILABLE
    message = "there is no rate of now from {source}"
    retry_after_seconds = 10.0
    repeated_by_channels = False  # Rates are read again in a while, not because somebody asks.


class RateNotFound(errors.Error):
    """No rate is set for these currencies; one of a source on the web may be quoted."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no rate set from {sell_currency} to {buy_currency}"


class QuoteNotFound(errors.Error):
    """No such quote, or none that the caller may see."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is no quote {id}"


class QuoteExpired(errors.Error):
    """The time of the quote is over; nothing moved."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "quote {id} has expired"
    http_status = 409


class QuoteAlreadyAccepted(errors.Error):
    """Another call has accepted the quote; this one moved nothing."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "quote {id} was accepted before"
    http_status = 409


class LedgerBusy(errors.Error):
    """Too many transfers wait to be posted; this call was turned away before anything was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    message = "too many transfers are waiting"
    retry_after_seconds = 1.0


class LedgerTooLarge(errors.Error):
    """A report on the whole ledger takes longer than the call may last; the command line has all the time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    message = (
        "the ledger is too large for the time of this call: give it more, or run `python -m wallets_service verify`"
        " or `trial-balance` beside the database"
    )
