"""The messages of the ledger's proofs: verification, head, trial balance."""

from kobklein import errors, money
from kobklein.wallets.v1 import ledger_pb2
from wallets_service.messages import common
from wallets_service.proof import chain, heads, trial_balances, verification


def head(found: chain.Head | None) -> ledger_pb2.LedgerHead:
    """Return a head; an empty one while nothing is sealed."""
    if found is None:
        return ledger_pb2.LedgerHead()
    return ledger_pb2.LedgerHead(
        sequence=found.sequence,
        hash=found.hash.hex(),
        sealed_time=common.timestamp(heads.time(found.sealed_microseconds)),
        signature=found.signature.hex(),
        public_key=found.public_key.hex(),
    )


def head_of(message: ledger_pb2.LedgerHead, field: str) -> chain.Head | None:
    """Return the head in a message, whose patterns hold; None for the empty one of a ledger without a seal.

    Raises InvalidArgument for one that has lost a part.
    """
    if message == ledger_pb2.LedgerHead():
        return None
    for name in ("sequence", "hash", "signature", "public_key"):
        if not getattr(message, name):
            raise errors.InvalidArgument.of(f"{field}.{name}", "is needed")
    return chain.Head(
        message.sequence,
        bytes.fromhex(message.hash),
        heads.microseconds(common.time(message.sealed_time, f"{field}.sealed_time")),
        bytes.fromhex(message.signature),
        bytes.fromhex(message.public_key),
    )


def report(found: verification.Report) -> ledger_pb2.LedgerReport:
    """Return what a verification found; raises SumOverflow for a sound ledger with more money than 64 bits hold."""
    return ledger_pb2.LedgerReport(
        balanced=not found.breaks,
        account_count=found.account_count,
        transfer_count=found.transfer_count,
        hold_count=found.hold_count,
        sealed_count=found.sealed_count,
        totals=[_total(total, broken=bool(found.breaks)) for total in found.totals],
        breaks=map(_break, found.breaks),
        verified_time=common.timestamp(found.verified_time),
    )


def _total(found: verification.Total, *, broken: bool) -> ledger_pb2.CurrencyTotal:
    """Return a total; of a broken ledger, whose state must be reported, the nearest value in 64 bits."""

    def fitted(amount: int, name: str) -> int:
        return common.nearest_int64(amount) if broken else money.in_64_bits(amount, found.currency, name=name)

    return ledger_pb2.CurrencyTotal(
        currency=found.currency,
        balance=fitted(found.balance, "the sum of all balances"),
        user_balance=fitted(found.user_balance, "the sum of the users' balances"),
    )


def _break(found: verification.Break) -> ledger_pb2.LedgerBreak:
    return ledger_pb2.LedgerBreak(
        check=found.check,
        address=found.address or "",
        currency=found.currency or "",
        transfer_id=str(found.transfer_id or ""),
        hold_id=str(found.hold_id or ""),
        sequence=found.sequence,
        expected_amount=common.nearest_int64(found.expected_amount),
        actual_amount=common.nearest_int64(found.actual_amount),
        detail=found.detail,
    )


def trial_balance(found: trial_balances.TrialBalance) -> ledger_pb2.TrialBalance:
    """Return a trial balance; raises SumOverflow."""
    return ledger_pb2.TrialBalance(
        time=common.timestamp(found.time),
        basis=common.basis_number(found.basis),
        lines=map(_line, found.lines),
        totals=map(_line, found.totals),
    )


def _line(found: trial_balances.Line) -> ledger_pb2.TrialBalanceLine:
    return ledger_pb2.TrialBalanceLine(
        currency=found.currency,
        kind=found.kind,
        account_count=found.account_count,
        debit_amount=money.in_64_bits(found.debit_amount, found.currency, name="the sum of debits"),
        credit_amount=money.in_64_bits(found.credit_amount, found.currency, name="the sum of credits"),
        balance=money.in_64_bits(found.balance, found.currency, name="the sum of balances"),
    )
