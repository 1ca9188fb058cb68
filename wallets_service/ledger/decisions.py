"""What becomes of a batch of operations, decided in memory: a pure function of what was read under the locks."""

from collections.abc import Iterable, Iterator, Sequence

from wallets_service import addresses, errors, fees
from wallets_service.ledger import rules
from wallets_service.ledger.book import Book, Decision, Outcome, State
from wallets_service.ledger.entries import (
    EXPIRED,
    PENDING,
    VOIDED,
    Account,
    FeeSettlement,
    Hold,
    Id,
    NewHold,
    Operation,
    Posting,
    Release,
    Transfer,
)


def decide(operations: Iterable[Operation], state: State) -> Decision:
    """Decide each operation in order, on what the ones before it left; linked ones together or not at all."""
    *_, decision = decide_in_parts(operations, state)
    return decision


def decide_in_parts(operations: Iterable[Operation], state: State, *, size: int = 0) -> Iterator[Decision]:
    """Decide as `decide` does; yield the decision each time it has some `size` postings more, and in the end.

    It is one decision that grows: postings that it holds once stay as they are, and can be written while the rest is
    decided. Accounts and holds are final only in the end.
    """
    book = Book(state)
    yielded = 0
    for hold in state.holds.values():
        locked = hold.made.debit_key in state.accounts  # An operation may name a hold of quite other accounts.
        if locked and hold.status == PENDING and rules.expired(hold, state.time):
            book.release(hold, EXPIRED)
    for group in _groups(operations):
        if len(group) == 1:
            book.decision.outcomes.append(_decided(book, group[0], None))
        else:
            book.decision.outcomes += _together(book, group)
        if size and len(book.decision.postings) - yielded >= size:
            yielded = len(book.decision.postings)
            yield book.decision
    yield book.decision


def _groups(operations: Iterable[Operation]) -> Iterator[Sequence[Operation]]:
    """Yield runs of linked operations; most are a run by themselves."""
    group: list[Operation] = []
    for operation in operations:
        if operation.linked:
            group.append(operation)
        elif group:
            yield [*group, operation]
            group = []
        else:
            yield (operation,)
    if group:
        yield group


def _together(book: Book, group: Sequence[Operation]) -> list[Outcome]:
    """Decide a group; after the first refusal, undo what was done, and refuse the rest because of it.

    A group that was posted before is a replay as a whole: it can neither be joined later, nor repeated in part.
    """
    group_id = _id(group[0])
    book.begin(settling=any(isinstance(each, FeeSettlement) for each in group))
    outcomes: list[Outcome] = []
    transfers = holds = 0
    for operation in group:
        outcome = _decided(book, operation, group_id)
        if isinstance(outcome, Posting):
            transfers += 1
        elif isinstance(operation, NewHold):
            holds += 1
        if not isinstance(outcome, errors.Refusal):
            if book.half_new(transfers + holds):
                outcome = _reused(group[0])
            elif len(outcomes) == len(group) - 1:
                outcome = _closing(book, group[0], transfers) or outcome
        outcomes.append(outcome)
        if isinstance(outcome, errors.Refusal):
            book.undo()
            linked = errors.LinkedTransferRefused(id=_id(operation))
            return [*[linked] * (len(outcomes) - 1), outcome, *[linked] * (len(group) - len(outcomes))]
    book.keep()
    return outcomes


def _closing(book: Book, first: Operation, transfers: int) -> errors.Refusal | None:
    """Return why a group of so many transfers is refused, though nothing stands against any of its operations."""
    if book.group_size(_id(first)) != transfers:
        return _reused(first)
    unsettled = book.unsettled() if book.decision.holds else None
    return None if unsettled is None else errors.HoldHasFee(id=unsettled)


def _reused(operation: Operation) -> errors.Refusal:
    refused = errors.HoldIdReused if isinstance(operation, NewHold) else errors.TransferIdReused
    return refused(id=_id(operation))


def _id(operation: Operation) -> Id:
    return operation.hold_id if isinstance(operation, Release) else operation.id


def _decided(book: Book, operation: Operation, group_id: Id | None) -> Outcome:
    if isinstance(operation, Transfer):
        return _transfer(book, operation, group_id)
    if isinstance(operation, NewHold):
        return _new_hold(book, operation)
    if isinstance(operation, Release):
        return _release(book, operation)
    return _settle(book, operation, group_id)


def _transfer(book: Book, transfer: Transfer, group_id: Id | None) -> Outcome:
    earlier = book.posted.get(transfer.id)
    if earlier is not None:
        same = earlier.transfer == transfer and earlier.group_id == group_id and _ends_alike(book, transfer)
        return earlier if same else errors.TransferIdReused(id=transfer.id)
    debit, credit = book.account(transfer.debit_key), book.account(transfer.credit_key)
    hold = None if transfer.hold_id is None else book.hold(transfer.hold_id)
    refusal = _refusal(book, transfer, debit, credit, hold)
    if refusal is not None:
        return refusal
    if transfer.reverses_id is not None:
        book.reverse(transfer.reverses_id, transfer.amount)
    if hold is not None:
        book.take(hold, transfer)
        debit = book.account(transfer.debit_key)
    return book.post(transfer, debit, credit, group_id)


def _ends_alike(book: Book, repeated: Transfer) -> bool:
    """Return whether a repeated part says of the rest of its hold what was done with it.

    That is not recorded with the part, but it shows: with a part that gives back the rest, the hold ends. For one that
    took all that was left there was no rest to say anything of.
    """
    if repeated.hold_id is None:
        return True
    ended, hold = book.ended_by(repeated.id), book.hold(repeated.hold_id)
    all_taken = hold is not None and hold.posted_amount == hold.made.amount
    return ended if repeated.releases_hold else not ended or all_taken


def _refusal(
    book: Book, transfer: Transfer, debit: Account, credit: Account, hold: Hold | None
) -> errors.Refusal | None:
    """Return why a transfer is refused; what a hold reserved was checked when it was made."""
    state = book.state
    refusal = rules.sides(transfer, debit, credit) or rules.range_(transfer, debit, credit)
    if refusal is None and (transfer.expires_time is not None or transfer.effective_time is not None):
        refusal = rules.times(transfer, state.time)
    if refusal is None and transfer.reverses_id is not None:
        original = book.posted.get(transfer.reverses_id)
        refusal = rules.reversal(transfer, original, book.reversed_amount(transfer.reverses_id))
    if refusal is not None:
        return refusal
    if transfer.hold_id is not None:
        return rules.posting_of(transfer, hold) or _alone(book, hold)
    refusal = rules.funds(transfer, debit)
    if refusal is None and transfer.reverses_id is None:
        refusal = rules.limits(transfer, debit, state.limits.get(transfer.currency), book.today)
    return refusal or _payee(book, transfer)


def _new_hold(book: Book, made: NewHold) -> Outcome:
    earlier = book.hold(made.id)
    if earlier is not None:
        return earlier if earlier.made == made else errors.HoldIdReused(id=made.id)
    debit, credit = book.account(made.debit_key), book.account(made.credit_key)
    refusal = (
        rules.sides(made, debit, credit)
        or rules.held_range(made, debit)
        or rules.open_holds(made, book.open_holds(debit.id))
        or rules.funds(made, debit)
        or rules.limits(made, debit, book.state.limits.get(made.currency), book.today)
        or _payee(book, made)
    )
    return refusal or book.reserve(made, debit, credit)


def _payee(book: Book, asked: Transfer | NewHold) -> errors.Refusal | None:
    """Return why a payee without any account is not paid; decided last, so that only a caller who could pay is told."""
    if asked.payee_may_be_new or not book.payee_is_new(asked):
        return None
    return errors.PayeeIsNew(to_user_id=addresses.user_id(asked.credit_account))


def _alone(book: Book, hold: Hold | None) -> errors.Refusal | None:
    """Return why a hold may not be changed without another one; whether a group settles both shows in its end.

    Transfers alone never settle both: what of the fee falls due together with which part is decided here.
    """
    if hold is None or book.settling or not hold.made.tied:
        return None
    return errors.HoldHasFee(id=hold.made.id)


def _release(book: Book, release: Release) -> Outcome:
    """Give a hold back; one that was given back before is answered again, as is one whose time is not over yet."""
    hold = book.hold(release.hold_id)
    if hold is None:
        return errors.HoldNotFound(id=release.hold_id)
    if hold.made.debit_key != release.debit_key:
        return errors.HoldOfOtherAccounts(id=release.hold_id)
    if release.expiry or hold.status == VOIDED:
        return hold
    if hold.status != PENDING:
        return errors.HoldEnded(id=release.hold_id, status=hold.status)
    return _alone(book, hold) or book.release(hold, VOIDED)


def _settle(book: Book, settlement: FeeSettlement, group_id: Id | None) -> Outcome:
    """Take what is due of a fee; what is due follows from what is posted, so parts that meet cannot disagree on it."""
    fee, of = book.hold(settlement.hold_id), book.hold(settlement.fee_of)
    if fee is None or of is None or of.made.fee_terms is None or fee.made.fee_of != of.made.id:
        return errors.HoldNotFound(id=settlement.hold_id)
    earlier = book.posted.get(settlement.id)
    if earlier is not None:
        same = earlier.transfer.hold_id == fee.made.id and earlier.group_id == group_id
        return earlier if same else errors.TransferIdReused(id=settlement.id)
    ended = of.status != PENDING
    amount = fees.due(of.made.fee_terms, of.posted_amount) - fee.posted_amount
    if amount < 0:  # The group has taken of the fee by itself.
        return errors.HoldHasFee(id=fee.made.id)
    if amount:
        return _transfer(book, fee.made.part(settlement.id, amount, releases_rest=ended), group_id)
    if ended and fee.status == PENDING:
        return book.release(fee, of.status if fee.posted_amount else VOIDED)
    return fee
