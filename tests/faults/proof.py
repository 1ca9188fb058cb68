"""What goes wrong where the ledger is proved: rights, seals, their verification, and instants that are final."""

from typing import Final

from tests.faults.fault import Fault

_SEALS: Final = "tests/integration/test_ledger_seals.py"
_TAMPERING: Final = "tests/integration/test_ledger_tampering.py"
_ORACLE: Final = "tests/integration/test_ledger_oracle.py"
_STATEMENTS: Final = "tests/integration/test_statements_history.py"
_SCHEMA: Final = "tests/integration/test_ledger_schema.py"
_HOLD_FEES: Final = "tests/integration/test_hold_fees_verification.py"
_GROUPS: Final = "tests/integration/test_groups_verification.py"
FAULTS: Final = (
    Fault(
        "an account under another name",
        "wallets_service/proof/verification/sums.py",
        '    Check("names", "ACCOUNT_RENAMED", _NAMES),\n',
        "",
        "tests/integration/test_ledger_verification.py::test_accounts_that_changed_their_owners_are_found",
    ),
    Fault(
        "rights to rewrite what triggers refuse",
        "wallets_service/migrations/versions/2026_11_23_ledger.py",
        'f"GRANT INSERT ON accounts, transfers TO {name}"',
        'f"GRANT INSERT, DELETE, TRUNCATE, UPDATE ON accounts, transfers TO {name}"',
        f"{_SCHEMA}::test_the_application_role_has_these_rights_and_no_others",
    ),
    Fault(
        "a hold that was posted with nothing",
        "wallets_service/proof/verification/sums.py",
        "       OR (h.status = 'POSTED' AND h.posted_amount = 0)\n",
        "",
        f"{_TAMPERING}::test_a_hold_or_reversal_that_does_not_add_up_is_named",
    ),
    Fault(
        "a reversal of a reversal",
        "wallets_service/proof/verification/sums.py",
        "o.reverses_id IS NOT NULL OR (o.debit",
        "(o.debit",
        f"{_TAMPERING}::test_a_hold_or_reversal_that_does_not_add_up_is_named",
    ),
    Fault(
        "a fee that nobody compares with its hold",
        "wallets_service/proof/verification/sums.py",
        '    Check("fees of holds", "HOLD_BROKEN", _FEES),\n',
        "",
        f"{_HOLD_FEES}::test_a_fee_that_does_not_follow_its_hold_is_named",
    ),
    Fault(
        "a group that only shares a name",
        "wallets_service/proof/verification/groups.py",
        "before.xid = t.xid AND before.place::bigint + 1 = t.place",
        "before.id <> t.id",
        f"{_GROUPS}::test_a_group_that_is_not_in_one_piece_is_named",
    ),
    Fault(
        "a group that must name a transfer",
        "wallets_service/proof/verification/groups.py",
        " AND h.id IS NULL\n",
        "\n",
        f"{_GROUPS}::test_groups_and_conversions_as_they_were_posted_hold",
    ),
    Fault(
        "a conversion whose legs nobody counts",
        "wallets_service/proof/verification/groups.py",
        "    WHERE (c.promised_count, c.promised) <> (c.posted_count, c.posted)\n",
        "    WHERE c.promised_count > c.posted_count\n",
        f"{_GROUPS}::test_a_conversion_that_is_not_what_its_quote_promised_is_named",
    ),
    Fault(
        "a fee that no quote promised",
        "wallets_service/proof/verification/groups.py",
        "             WHERE t.group_id IN (SELECT transfer_id FROM accepted)\n",
        "             WHERE t.group_id IN (SELECT transfer_id FROM accepted) AND t.type <> 'FEE'\n",
        f"{_GROUPS}::test_groups_and_conversions_as_they_were_posted_hold",
    ),
    Fault(
        "a conversion of no quote",
        "wallets_service/proof/verification/groups.py",
        '    Check("conversions of no quote", "CONVERSION_BROKEN", _UNPROMISED),\n',
        "",
        f"{_GROUPS}::test_a_conversion_that_is_not_what_its_quote_promised_is_named",
    ),
    Fault(
        "a conversion posted by hand",
        "wallets_service/messages/ledger.py",
        "    if plain.type == entries.CONVERSION:",
        "    if not plain.type:",
        "tests/integration/test_ledger_posting.py::test_only_an_accepted_quote_posts_a_conversion",
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
        "a balance that leaves out what was backdated later",
        "wallets_service/statements.py",
        "    if basis is Basis.EFFECTIVE:\n        late",
        "    if basis is Basis.RECORDED:\n        late",
        f"{_STATEMENTS}::test_a_balance_at_an_instant_is_the_sum_of_what_counts_by_then",
    ),
    Fault(
        "a trial balance of one time alone",
        "wallets_service/proof/trial_balances.py",
        '"coalesce(effective_time, created_time)"',
        '"created_time"',
        "tests/integration/test_trial_balances.py::test_a_backdated_transfer_counts_on_the_effective_basis_from_its_time_on",
    ),
)
