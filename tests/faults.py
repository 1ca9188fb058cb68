"""`python -m tests.faults`: plants one fault after the other in a copy of the code, and sees if its test turns red.

Each fault is one that hurt somebody's ledger. A test that stays green with the fault in place proves nothing. Names on
the command line choose some of them; exit 1 if one goes uncaught.
"""

import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import rich.console
import rich.progress

ROOT: Final = Path(__file__).parent.parent
_GENERATED: Final = (
    "build/contract.binpb",
    "kobklein/contract.binpb",
    "kobklein/options",
    "kobklein/payments",
    "kobklein/wallets",
)
_SECONDS: Final = 600
_TESTS_FAILED: Final = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One change that must turn one test red."""

    name: str
    file: str
    before: str
    after: str
    test: str


_DECISIONS: Final = "tests/unit/test_ledger_decisions.py"
_RACES: Final = "tests/integration/test_ledger_races.py"
_MODEL: Final = "tests/integration/test_ledger_model.py"
_SEALS: Final = "tests/integration/test_ledger_seals.py"
_TAMPERING: Final = "tests/integration/test_ledger_tampering.py"
_ORACLE: Final = "tests/integration/test_ledger_oracle.py"
_QUOTES: Final = "tests/integration/test_conversions_service.py"
_OUTCOMES: Final = "tests/integration/test_payments_unknown_outcomes.py"
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
        "tests/integration/test_ledger_batches.py::test_an_account_that_somebody_changed_by_hand_is_read_again",
    ),
    Fault(
        "an account under another name",
        "wallets_service/proof/verification/sums.py",
        '    ("names", "ACCOUNT_RENAMED", _NAMES),\n',
        "",
        "tests/integration/test_ledger_verification.py::test_accounts_that_changed_their_owners_are_found",
    ),
    Fault(
        "a group repeated in part",
        "wallets_service/ledger/decisions.py",
        "book.group_size(_id(first)) != transfers",
        "False",
        f"{_DECISIONS}::test_a_group_is_not_repeated_as_another_one",
    ),
    Fault(
        "one cent too much: >= for >",
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
        "a repeated id posted again",
        "wallets_service/ledger/decisions.py",
        "    earlier = book.posted.get(transfer.id)\n    if earlier is not None:",
        "    earlier = book.posted.get(transfer.id)\n    if earlier is not None and book.state.posted:",
        f"{_DECISIONS}::test_one_batch_or_one_transfer_at_a_time_is_the_same",
    ),
    Fault(
        "a refused group leaves its first legs",
        "wallets_service/ledger/decisions.py",
        "            book.undo()\n",
        "            book.keep()\n",
        f"{_MODEL}::test_the_ledger_answers_as_its_model_does",
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
        "a late commit left out of the chain",
        "wallets_service/repository/seals.py",
        '_ENDED: Final = sql.SQL("xid < pg_snapshot_xmin(pg_current_snapshot())")',
        '_ENDED: Final = sql.SQL("true")',
        f"{_SEALS}::test_a_late_commit_is_waited_for_and_not_skipped",
    ),
    Fault(
        "a column that nobody hashes",
        "wallets_service/proof/chain.py",
        '    "description",\n',
        "",
        f"{_SEALS}::test_every_column_of_a_transfer_is_hashed_in_the_documented_form",
    ),
    Fault(
        "any key may sign",
        "wallets_service/proof/verification/chains.py",
        "    if trusted and seal.head.public_key not in trusted:",
        "    if not seal.head.public_key:",
        f"{_TAMPERING}::test_a_ledger_that_is_written_anew_without_the_key_is_found_from_there",
    ),
    Fault(
        "two chains at once",
        "wallets_service/repository/seals.py",
        "    return bool(_value(connection, \"SELECT pg_try_advisory_xact_lock(hashtext('seal transfers'))\"))",
        "    return bool(connection)",
        f"{_SEALS}::test_sealers_at_once_make_one_chain",
    ),
    Fault(
        "an instant told before it is over",
        "wallets_service/instants.py",
        "if not self._running or now - self.time > _FINAL_AFTER:",
        "if self._began or now - self.time > _FINAL_AFTER:",
        "tests/integration/test_trial_balances.py::test_a_transfer_that_is_being_written_is_waited_for",
    ),
    Fault(
        "a seal that skips a row",
        "wallets_service/repository/seals.py",
        'sql.SQL("(xid, place) > ({}::xid8, {})")',
        'sql.SQL("(xid, place) > ({}::xid8, {} + 1)")',
        f"{_SEALS}::test_many_transfers_are_sealed_in_runs",
    ),
    Fault(
        "a seal that forgets the one before it",
        "wallets_service/proof/chain.py",
        "    before = previous.head.hash if previous else bytes(DIGEST_BYTES)\n",
        "    before = bytes(DIGEST_BYTES)\n",
        f"{_ORACLE}::test_an_honest_ledger_holds_and_is_sealed_to_its_end",
    ),
    Fault(
        "a head that is signed without its time",
        "wallets_service/proof/chain.py",
        "    return _HEAD + _HEAD_FIELDS.pack(sequence, sealed_microseconds) + hash_\n",
        "    return _HEAD + _HEAD_FIELDS.pack(sequence, 0) + hash_\n",
        f"{_ORACLE}::test_an_honest_ledger_holds_and_is_sealed_to_its_end",
    ),
    Fault(
        "a watch that skips what commits late",
        "wallets_service/repository/watches.py",
        "              AND xid < pg_snapshot_xmin(pg_current_snapshot())\n            ORDER BY",
        "            ORDER BY",
        "tests/integration/test_watches_races.py::"
        "test_a_transaction_that_commits_late_delays_others_and_is_not_skipped",
    ),
    Fault(
        "a hold that ends whatever the clock says",
        "wallets_service/repository/holds.py",
        "sa.and_(Hold.status == entries.PENDING, Hold.expires_time <= sa.func.statement_timestamp())",
        "sa.and_(Hold.status == entries.PENDING)",
        "tests/integration/test_holds.py::test_a_hold_is_posted_in_parts_until_nothing_is_left",
    ),
    Fault(
        "a hold that reads as if it had no end",
        "wallets_service/repository/holds.py",
        "sa.and_(Hold.status == entries.PENDING, Hold.expires_time <= sa.func.statement_timestamp())",
        "sa.and_(Hold.status == entries.PENDING, sa.false())",
        "tests/integration/test_hold_expiry.py::test_an_expired_hold_reads_as_expired_before_anybody_gave_it_back",
    ),
    Fault(
        "a quote accepted twice",
        "wallets_service/quotes.py",
        "entries.Transfer(str(id_), debit, credit, amount, currency, type_, linked=True, **common)",
        "entries.Transfer(str(ids.derived(acceptance_id, str(id_))), debit, credit, amount, currency, type_,"
        " linked=True, **common)",
        f"{_QUOTES}::test_accepting_again_with_another_key_is_refused",
    ),
    Fault(
        "a quote accepted after its time",
        "wallets_service/quotes.py",
        '        "expires_time": quote.expires_time,\n',
        "",
        f"{_QUOTES}::test_an_expired_quote_moves_nothing",
    ),
    Fault(
        "a step without its fence",
        "payments_service/repository.py",
        "        .where(payments.c.id == payment.id, payments.c.fence == payment.fence)\n        .values(**values, ",
        "        .where(payments.c.id == payment.id)\n        .values(**values, ",
        f"{_OUTCOMES}::test_an_outdated_holder_changes_nothing",
    ),
    Fault(
        "a charge under a key of its own each time",
        "payments_service/providers/stripe.py",
        '{"idempotency_key": f"{charge.payment_id}-authorise"}',
        '{"idempotency_key": f"{charge.payment_id}-{id(charge)}"}',
        f"{_OUTCOMES}::test_a_process_that_died_after_the_charge_charges_no_second_time",
    ),
    Fault(
        "a deposit under an id of its own each time",
        "payments_service/settlement.py",
        '        id=ids.derived(payment.id, "settle"),\n',
        "        id=ids.new(),\n",
        f"{_OUTCOMES}::test_a_process_that_died_after_the_deposit_credits_no_second_time",
    ),
    Fault(
        "a webhook of the future",
        "payments_service/providers/stripe_webhooks.py",
        " or int(times[0]) > time.time() + TOLERANCE_SECONDS:",
        " or time.time() < 0:",
        "tests/integration/test_webhook_forgery.py::test_five_hundred_mutants_change_nothing",
    ),
    Fault(
        "a key that belongs to everybody",
        "kobklein/idempotency.py",
        "    return sa.and_(keys.c.subject == call.subject, keys.c.key == call.idempotency_key)\n",
        "    return sa.and_(keys.c.key == call.idempotency_key)\n",
        "tests/integration/test_idempotency.py::test_a_key_belongs_to_its_caller",
    ),
)


def main() -> int:
    """Plant the faults; return the exit code."""
    console = rich.console.Console()
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or fault.name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        _copy(copy)
        if _run(copy, sorted({fault.test for fault in chosen})):
            console.print("[red]without a fault, the tests are not green")
            return 1
        uncaught = [fault for fault in rich.progress.track(chosen, console=console) if not _caught(copy, fault)]
    for fault in uncaught:
        console.print(f"[red]uncaught: {fault.name} ({fault.test})")
    console.print(f"faults: {len(chosen) - len(uncaught)} of {len(chosen)} caught")
    return 1 if uncaught else 0


def _copy(target: Path) -> None:
    """Copy what is tracked or new, and what is generated from it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,  # git is on the path
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for name in _GENERATED:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target / name)


def _caught(copy: Path, fault: Fault) -> bool:
    file = copy / fault.file
    text = file.read_text()
    file.write_text(text.replace(fault.before, fault.after))
    try:
        return _run(copy, [fault.test]) == _TESTS_FAILED
    finally:
        file.write_text(text)


def _run(copy: Path, tests: Iterable[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=copy, capture_output=True, check=False, timeout=_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
