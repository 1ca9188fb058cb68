"""What goes wrong in what is built on the ledger: holds, quotes, payments, and keys."""

from typing import Final

from tests.faults.fault import Fault

_QUOTES: Final = "tests/integration/test_conversions_service.py"
_OUTCOMES: Final = "tests/integration/test_payments_unknown_outcomes.py"
_COST: Final = "tests/unit/test_linear_cost.py"
_FLOODS: Final = "tests/integration/test_gateway_floods.py"
FAULTS: Final = (
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
        "a fee that its quote did not say",
        "wallets_service/quotes.py",
        "quote.fee_amount, quote.sell_currency",
        "quote.spread_amount, quote.sell_currency",
        "tests/integration/test_conversion_fees.py::test_the_fee_of_a_quote_stays_when_the_schedule_changes",
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
        '{"idempotency_key": charge.key}',
        '{"idempotency_key": f"{charge.key}-{id(charge)}"}',
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
        "a search for strings that goes back",
        "gateway/documents.py",
        'rb\'"(?:[^"\\\\]++|\\\\.)*+"?|',
        'rb\'"(?:[^"\\\\]|\\\\.)*"|',
        f"{_COST}::test_the_attack_of_escaped_quotes_before_brackets_is_over_at_once",
    ),
    Fault(
        "health that waits for a place",
        "gateway/middleware.py",
        "        if path in slots.HEALTH:\n",
        "        if path in ():\n",
        f"{_FLOODS}::test_health_takes_no_place_among_the_requests",
    ),
    Fault(
        "refused calls that are not counted",
        "gateway/callers.py",
        "        if status in _REFUSALS or ",
        "        if ",
        f"{_FLOODS}::test_refused_calls_of_an_address_are_limited_and_no_others",
    ),
    Fault(
        "forged tokens that are proved however many there are",
        "gateway/callers.py",
        "            await self._failures.check(exchange)\n",
        "            pass\n",
        f"{_FLOODS}::test_forged_tokens_are_not_proved_once_their_address_has_failed_too_often",
    ),
    Fault(
        "a client's address from anyone",
        "kobklein/peers.py",
        "    return given if is_address(given) and _is_trusted(context, peer, trusted) else peer\n",
        "    return given if is_address(given) else peer\n",
        "tests/integration/test_interceptor.py::test_only_processes_of_ours_say_which_client_they_call_for",
    ),
    Fault(
        "a webhook of the future",
        "kobklein/signatures.py",
        "    return abs(int(times[0]) - time.time()) <= TOLERANCE_SECONDS\n",
        "    return time.time() - int(times[0]) <= TOLERANCE_SECONDS\n",
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
