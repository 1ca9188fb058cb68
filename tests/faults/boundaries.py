"""What goes wrong at one comparison or one rounding: by one minor unit, or by one microsecond."""

from typing import Final

from tests.faults.fault import Fault

_DECISIONS: Final = "tests/unit/test_ledger_decisions.py"
_HOLDS: Final = "tests/unit/test_ledger_holds.py"
_FEES: Final = "tests/unit/test_fees.py"
_CONVERSIONS: Final = "tests/unit/test_conversions.py"
_STATEMENTS: Final = "tests/integration/test_statements_history.py"
FAULTS: Final = (
    Fault(
        "one cent too much",
        "wallets_service/ledger/rules.py",
        "    if asked.amount <= available:\n",
        "    if asked.amount <= available + 1:\n",
        f"{_DECISIONS}::test_money_goes_to_the_last_cent_and_no_further",
    ),
    Fault(
        "one cent too little: < for <=",
        "wallets_service/ledger/rules.py",
        "    if asked.amount <= available:\n",
        "    if asked.amount < available:\n",
        f"{_DECISIONS}::test_money_goes_to_the_last_cent_and_no_further",
    ),
    Fault(
        "a limit too low: >= for >",
        "wallets_service/ledger/rules.py",
        "        if limit is not None and used + asked.amount > limit:",
        "        if limit is not None and used + asked.amount >= limit:",
        f"{_DECISIONS}::test_a_limit_is_spent_to_the_last_cent_and_no_further",
    ),
    Fault(
        "a reversal short of all: >= for >",
        "wallets_service/ledger/rules.py",
        "    if reversed_amount + transfer.amount > made.amount:",
        "    if reversed_amount + transfer.amount >= made.amount:",
        f"{_DECISIONS}::test_parts_that_are_taken_back_count_together",
    ),
    Fault(
        "a part short of all: >= for >",
        "wallets_service/ledger/rules.py",
        "    if transfer.amount > hold.remaining_amount:",
        "    if transfer.amount >= hold.remaining_amount:",
        f"{_HOLDS}::test_a_part_that_took_all_that_was_left_had_no_rest_to_say_anything_of",
    ),
    Fault(
        "posted at its end: > for >=",
        "wallets_service/ledger/rules.py",
        "time >= transfer.expires_time",
        "time > transfer.expires_time",
        f"{_DECISIONS}::test_a_transfer_with_an_end_is_posted_before_it_and_not_at_it",
    ),
    Fault(
        "backdated to now: > for >=",
        "wallets_service/ledger/rules.py",
        "transfer.effective_time >= time",
        "transfer.effective_time > time",
        f"{_DECISIONS}::test_a_transfer_counts_from_before_it_is_recorded_and_not_from_then",
    ),
    Fault(
        "held at its end: > for >=",
        "wallets_service/ledger/rules.py",
        "time >= hold.expires_time",
        "time > hold.expires_time",
        f"{_HOLDS}::test_a_hold_ends_at_the_very_instant_of_its_time",
    ),
    Fault(
        "the least of 64 bits refused: <= for <",
        "wallets_service/ledger/rules.py",
        "transfer.amount < MIN_BALANCE",
        "transfer.amount <= MIN_BALANCE",
        f"{_DECISIONS}::test_a_balance_beyond_64_bits_is_refused",
    ),
    Fault(
        "the most of 64 bits refused: >= for >",
        "wallets_service/ledger/rules.py",
        "credit.balance + transfer.amount > MAX_BALANCE",
        "credit.balance + transfer.amount >= MAX_BALANCE",
        f"{_DECISIONS}::test_a_balance_beyond_64_bits_is_refused",
    ),
    Fault(
        "more than 64 bits",
        "wallets_service/ledger/rules.py",
        "MIN_BALANCE: Final = -(2**63)",
        "MIN_BALANCE: Final = -(2**63) - 1",
        f"{_DECISIONS}::test_a_balance_beyond_64_bits_is_refused",
    ),
    Fault(
        "the most of 64 bits not held: >= for >",
        "wallets_service/ledger/rules.py",
        "debit.held_amount + made.amount > MAX_BALANCE",
        "debit.held_amount + made.amount >= MAX_BALANCE",
        f"{_DECISIONS}::test_what_is_held_stays_within_64_bits_where_the_balance_has_no_floor",
    ),
    Fault(
        "a fee of nothing",
        "wallets_service/fees.py",
        "    return charged(posted, terms) if posted else 0\n",
        "    return charged(posted, terms)\n",
        f"{_FEES}::test_what_is_due_of_a_hold_is_what_a_transfer_of_what_is_posted_costs",
    ),
    Fault(
        "holds without number",
        "wallets_service/ledger/rules.py",
        "    if count < MAX_OPEN_HOLDS:\n",
        "    if count <= MAX_OPEN_HOLDS:\n",
        "tests/unit/test_ledger_holds.py::test_an_account_has_no_more_holds_open_than_can_end_at_once",
    ),
    Fault(
        "a fee rounded up",
        "wallets_service/fees.py",
        "amount * terms.parts_per_million // _MILLION",
        "-(-amount * terms.parts_per_million // _MILLION)",
        f"{_FEES}::test_a_fee_is_the_exact_one_rounded_down_and_then_bounded",
    ),
    Fault(
        "what is bought rounded up",
        "wallets_service/conversions.py",
        "    bought = math.floor(net)\n",
        "    bought = math.ceil(net)\n",
        f"{_CONVERSIONS}::test_selling_sells_exactly_what_was_asked_and_rounds_what_is_bought_down",
    ),
    Fault(
        "what is sold rounded down",
        "wallets_service/conversions.py",
        "    sold = math.ceil(needed)\n",
        "    sold = math.floor(needed)\n",
        f"{_CONVERSIONS}::test_buying_buys_exactly_what_was_asked_and_rounds_what_is_sold_up",
    ),
    Fault(
        "a spread rounded up",
        "wallets_service/conversions.py",
        "math.floor(gross) - bought",
        "math.ceil(gross) - bought",
        f"{_CONVERSIONS}::test_what_is_bought_and_the_spread_are_all_that_what_is_sold_is_worth",
    ),
    Fault(
        "backdated to the end of a statement: <= for <",
        "wallets_service/repository/histories.py",
        "          AND effective_time < :before_time\n",
        "          AND effective_time <= :before_time\n",
        f"{_STATEMENTS}::test_a_statement_has_every_line_of_its_range_once_with_the_balance_after_it",
    ),
)
