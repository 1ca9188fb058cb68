"""What goes wrong where operations are locked, decided and written."""

from typing import Final

from tests.faults.fault import Fault

_DECISIONS: Final = "tests/unit/test_ledger_decisions.py"
_RACES: Final = "tests/integration/test_ledger_races.py"
_MODEL: Final = "tests/integration/test_ledger_model.py"
_BATCHES: Final = "tests/integration/test_ledger_batches.py"
_ARITHMETIC: Final = "tests/unit/test_ledger_arithmetic.py"
FAULTS: Final = (
    Fault(
        "missing lock",
        "wallets_service/ledger/lookups.py",
        "        FOR NO KEY UPDATE\n",
        "",
        f"{_RACES}::test_transfers_in_every_order_of_accounts_never_deadlock",
    ),
    Fault(
        "locks in no order",
        "wallets_service/ledger/lookups.py",
        "        ORDER BY id\n",
        "        ORDER BY random()\n",
        f"{_RACES}::test_accounts_are_locked_in_the_order_of_their_ids",
    ),
    Fault(
        "what is remembered is believed",
        "wallets_service/ledger/lookups.py",
        'if locked == ",".join(known):',
        "if locked:",
        f"{_BATCHES}::test_an_account_that_somebody_changed_by_hand_is_read_again",
    ),
    Fault(
        "a group repeated in part",
        "wallets_service/ledger/decisions.py",
        "book.group_size(_id(first)) != transfers",
        "False",
        f"{_DECISIONS}::test_a_group_is_not_repeated_as_another_one",
    ),
    Fault(
        "balances as floats",
        "wallets_service/ledger/book.py",
        "        id_, key, balance + amount, held",
        "        id_, key, int(float(balance) + float(amount)), held",
        f"{_DECISIONS}::test_a_balance_beyond_64_bits_is_refused",
    ),
    Fault(
        "a lost race shown as an answer",
        "wallets_service/ledger/batches.py",
        "                if attempt >= (_MAX_WAITS if isinstance(error, _WAITED) else MAX_ATTEMPTS):\n"
        "                    raise BlockedError if isinstance(error, _OF_SOME_ROWS) else unavailable() from error\n",
        '                raise errors.InvalidArgument.of("amount", "is more than there is") from error\n',
        f"{_RACES}::test_lost_races_are_run_again_and_never_shown",
    ),
    Fault(
        "a lost race swallowed",
        "wallets_service/ledger/batches.py",
        "                if attempt >= (_MAX_WAITS",
        "                if attempt:\n                    return []\n                if attempt >= (_MAX_WAITS",
        f"{_RACES}::test_lost_races_are_run_again_and_never_shown",
    ),
    Fault(
        "an account left alone whose lock went from hand to hand",
        "wallets_service/ledger/batches.py",
        "kept = {key for key, _ in before & self._locked}",
        "kept = {key for key, _ in self._locked} if before else set()",
        f"{_BATCHES}::test_an_account_whose_lock_went_from_hand_to_hand_is_not_left_alone",
    ),
    Fault(
        "everybody waits for a lock that somebody keeps",
        "wallets_service/ledger/group_commit.py",
        "batch = _without(batch, self._kept.keys)",
        "batch = _without(batch, ())",
        f"{_BATCHES}::test_an_account_that_somebody_keeps_locked_keeps_nobody_else_waiting",
    ),
    Fault(
        "a repeated id posted again",
        "wallets_service/ledger/decisions.py",
        "    earlier = book.posted.get(transfer.id)\n    if earlier is not None:",
        "    earlier = book.posted.get(transfer.id)\n    if earlier is not None and book.state.posted:",
        f"{_DECISIONS}::test_one_batch_or_one_transfer_at_a_time_is_the_same",
    ),
    Fault(
        "true taken for 1",
        "wallets_service/ledger/free_data.py",
        "isinstance(one, bool) == isinstance(other, bool) and bool(one == other)",
        "bool(one == other)",
        "tests/integration/test_ledger_posting.py::test_other_free_data_is_other_content_even_where_python_sees_none",
    ),
    Fault(
        "a refused group leaves its first legs",
        "wallets_service/ledger/decisions.py",
        "            book.undo()\n",
        "            book.keep()\n",
        f"{_MODEL}::test_the_ledger_answers_as_its_model_does",
    ),
    Fault(
        "a mistyped payee is paid",
        "wallets_service/ledger/lookups.py",
        "(SELECT true FROM accounts WHERE address = wanted.address LIMIT 1) IS NULL",
        "false",
        f"{_MODEL}::test_the_ledger_answers_as_its_model_does",
    ),
    Fault(
        "a payee is new in each currency",
        "wallets_service/ledger/lookups.py",
        "(SELECT true FROM accounts WHERE address = wanted.address LIMIT 1) IS NULL",
        "true",
        f"{_MODEL}::test_the_ledger_answers_as_its_model_does",
    ),
    Fault(
        "a payee is new to the rest of the batch that pays them first",
        "wallets_service/ledger/book.py",
        "missing is not None and not any(key in self.decision.accounts for key in missing)",
        "missing is not None",
        f"{_DECISIONS}::test_a_payee_is_new_until_any_account_of_theirs_opens_within_the_batch",
    ),
    Fault(
        "held money spent",
        "wallets_service/ledger/rules.py",
        "    available = debit.balance - debit.held_amount + debit.overdraft_limit\n",
        "    available = debit.balance + debit.overdraft_limit\n",
        f"{_DECISIONS}::test_held_money_cannot_be_spent",
    ),
    Fault(
        "reversals counted one by one",
        "wallets_service/ledger/rules.py",
        "    if reversed_amount + transfer.amount > made.amount:",
        "    if transfer.amount > made.amount:",
        f"{_DECISIONS}::test_parts_that_are_taken_back_count_together",
    ),
    Fault(
        "an expired hold that holds",
        "wallets_service/ledger/lookups.py",
        "AND status = 'PENDING' AND expires_time <= %s",
        "AND status = 'PENDING' AND expires_time <= %s - interval '1 hour'",
        f"{_MODEL}::test_the_ledger_answers_as_its_model_does",
    ),
    Fault(
        "a hold and its fee taken by plain transfers",
        "wallets_service/ledger/decisions.py",
        "book.begin(settling=any(isinstance(each, FeeSettlement) for each in group))",
        "book.begin(settling=True)",
        "tests/unit/test_ledger_holds.py::test_neither_a_hold_nor_its_fee_changes_without_the_other",
    ),
    Fault(
        "a hold that leaves its fee behind",
        "wallets_service/ledger/decisions.py",
        "unsettled = book.unsettled() if book.decision.holds else None",
        "unsettled = None",
        "tests/unit/test_ledger_holds.py::test_neither_a_hold_nor_its_fee_changes_without_the_other",
    ),
    Fault(
        "limits of yesterday",
        "wallets_service/ledger/rules.py",
        "        if limit is not None and used + asked.amount > limit:",
        "        if limit is not None and asked.amount > limit:",
        f"{_DECISIONS}::test_what_was_spent_today_counts_against_the_limit_of_the_day",
    ),
    Fault(
        "a time from before the locks",
        "wallets_service/ledger/lookups.py",
        "pg_current_xact_id()::xid::text, clock_timestamp(), (",
        "pg_current_xact_id()::xid::text, transaction_timestamp(), (",
        f"{_BATCHES}::test_a_batch_that_had_to_wait_has_a_time_after_all_it_waited_for",
    ),
    Fault(
        "a batch that may last for ever",
        "wallets_service/ledger/batches.py",
        '    f" -c transaction_timeout={LONGEST_SECONDS * 1000}"\n',
        "",
        f"{_BATCHES}::test_the_server_ends_a_batch_that_lasts",
    ),
    Fault(
        "the rest of a fee kept held",
        "wallets_service/ledger/decisions.py",
        "releases_rest=ended",
        "releases_rest=False",
        "tests/unit/test_ledger_holds.py::test_a_part_that_gives_back_the_rest_gives_back_the_rest_of_the_fee",
    ),
    Fault(
        "a counter beyond its column",
        "wallets_service/ledger/book.py",
        "return min(spent, rules.MAX_BALANCE)",
        "return spent",
        f"{_ARITHMETIC}::test_whatever_is_asked_of_the_ledger_adds_up",
    ),
    Fault(
        "a part without its part of the fee",
        "wallets_service/ledger/decisions.py",
        "return None if unsettled is None else errors.HoldHasFee(id=unsettled)",
        "return None",
        f"{_MODEL}::test_the_ledger_answers_as_its_model_does",
    ),
)
