"""The checks of each account, hold and reversal by itself: names, sums, floors and histories add up."""

from collections.abc import Iterator, Sequence
from typing import Final

from wallets_service.proof.snapshots import Snapshot
from wallets_service.proof.verification.statements import Check
from wallets_service.proof.verification.values import Break, Total

_TOTALS: Final = """
    SELECT currency, sum(balance) AS balance,
           coalesce(sum(balance) FILTER (WHERE user_id IS NOT NULL), 0) AS user_balance
    FROM accounts
    GROUP BY currency
    ORDER BY currency
"""
_FLOORS: Final = """
    SELECT address, currency,
           CASE WHEN held_amount < 0 THEN 0 ELSE -overdraft_limit END AS expected_amount,
           CASE WHEN held_amount < 0 THEN held_amount::numeric ELSE balance::numeric - held_amount END AS actual_amount,
           CASE WHEN held_amount < 0 THEN 'less than nothing is held'
                ELSE 'the balance less what is held is below the floor' END AS detail
    FROM accounts
    WHERE held_amount < 0 OR balance::numeric - held_amount < -overdraft_limit
    ORDER BY address, currency
    LIMIT %(limit)s
"""
_NAME_HASH: Final = "substr(sha256(convert_to(address || '/' || currency, 'UTF8')), 1, 16)"
_NAMES: Final = f"""
    SELECT address, currency, 0 AS expected_amount, 0 AS actual_amount,
           'the id ' || id || ' is not that of the address and currency' AS detail
    FROM (SELECT *, {_NAME_HASH} AS hash FROM accounts) a
    WHERE id <> encode(
        set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 128), 8, get_byte(hash, 8) & 63 | 128), 'hex'
    )::uuid
    ORDER BY address, currency
    LIMIT %(limit)s
"""  # noqa: S608  # put together from constants of this module
"""What `entries.account_id` makes of a name, by PostgreSQL's own functions alone."""
_LEGS: Final = """
    SELECT debit_account_id AS account_id, currency, id, debit_version AS version,
           -amount::numeric AS amount, debit_balance_after AS balance_after
    FROM transfers
    UNION ALL
    SELECT credit_account_id, currency, id, credit_version, amount, credit_balance_after
    FROM transfers
"""
_BALANCES: Final = f"""
    SELECT a.address, a.currency, coalesce(s.balance, 0) AS expected_amount, a.balance AS actual_amount,
           'the balance is not the sum of the transfers' AS detail
    FROM accounts a
    LEFT JOIN (
        SELECT account_id, sum(amount) AS balance FROM ({_LEGS}) leg GROUP BY account_id
    ) s ON s.account_id = a.id
    WHERE a.balance <> coalesce(s.balance, 0)
    ORDER BY a.address, a.currency
    LIMIT %(limit)s
"""  # noqa: S608  # as above
_HISTORIES: Final = f"""
    WITH links AS (
        SELECT *, lag(balance_after, 1, 0::bigint) OVER history + amount AS expected_amount,
               row_number() OVER history AS place
        FROM ({_LEGS}) leg
        WINDOW history AS (PARTITION BY account_id ORDER BY version)
    )
    SELECT a.address, l.currency, l.id AS transfer_id, l.expected_amount, l.balance_after AS actual_amount,
           CASE WHEN a.currency IS DISTINCT FROM l.currency THEN 'the account is missing or has another currency'
                WHEN l.place <> l.version THEN 'transfer ' || l.version || ' stands where ' || l.place || ' should'
                ELSE 'the balance does not follow from the one before' END AS detail
    FROM links l
    LEFT JOIN accounts a ON a.id = l.account_id
    WHERE l.expected_amount <> l.balance_after OR l.place <> l.version OR a.currency IS DISTINCT FROM l.currency
    ORDER BY a.address, l.currency, l.version
    LIMIT %(limit)s
"""  # noqa: S608  # as above
_ENDS: Final = f"""
    SELECT a.address, a.currency, a.balance AS expected_amount, coalesce(s.balance_after, 0) AS actual_amount,
           'the account counts ' || a.version || ' transfers, its history ' || coalesce(s.version, 0) AS detail
    FROM accounts a
    LEFT JOIN (
        SELECT DISTINCT ON (account_id) account_id, version, balance_after
        FROM ({_LEGS}) leg
        ORDER BY account_id, version DESC
    ) s ON s.account_id = a.id
    WHERE a.version <> coalesce(s.version, 0)
    ORDER BY a.address, a.currency
    LIMIT %(limit)s
"""  # noqa: S608  # as above
_HELD: Final = """
    SELECT a.address, a.currency, coalesce(h.amount, 0) AS expected_amount, a.held_amount AS actual_amount,
           'what is held is not the sum of the open holds' AS detail
    FROM accounts a
    LEFT JOIN (
        SELECT debit_account_id, sum(amount::numeric - posted_amount) AS amount
        FROM holds
        WHERE status = 'PENDING'
        GROUP BY debit_account_id
    ) h ON h.debit_account_id = a.id
    WHERE a.held_amount <> coalesce(h.amount, 0)
    ORDER BY a.address, a.currency
    LIMIT %(limit)s
"""
_HOLDS: Final = """
    SELECT a.address, h.currency, h.id AS hold_id, coalesce(t.amount, 0) AS expected_amount,
           h.posted_amount AS actual_amount,
           CASE WHEN h.posted_amount <> coalesce(t.amount, 0) THEN 'what is posted is not the sum of its transfers'
                WHEN a.currency IS DISTINCT FROM h.currency THEN 'its account is missing or has another currency'
                ELSE 'so much cannot be posted of a hold that is ' || h.status END AS detail
    FROM holds h
    LEFT JOIN (
        SELECT hold_id, sum(amount) AS amount FROM transfers WHERE hold_id IS NOT NULL GROUP BY hold_id
    ) t ON t.hold_id = h.id
    LEFT JOIN accounts a ON a.id = h.debit_account_id
    WHERE h.posted_amount <> coalesce(t.amount, 0)
       OR a.currency IS DISTINCT FROM h.currency
       OR h.posted_amount NOT BETWEEN 0 AND h.amount
       OR (h.status = 'POSTED' AND h.posted_amount = 0)
       OR (h.status <> 'POSTED' AND h.posted_amount = h.amount)
    ORDER BY h.created_time, h.id
    LIMIT %(limit)s
"""
_POSTED_HOLDS: Final = """
    SELECT a.address, t.currency, t.id AS transfer_id, t.hold_id, 0 AS expected_amount, t.amount AS actual_amount,
           CASE WHEN h.id IS NULL THEN 'its hold is missing' ELSE 'its hold is between other accounts' END AS detail
    FROM transfers t
    LEFT JOIN holds h ON h.id = t.hold_id
    LEFT JOIN accounts a ON a.id = t.debit_account_id
    WHERE t.hold_id IS NOT NULL
      AND (h.debit_account_id, h.credit_account_id, h.currency)
          IS DISTINCT FROM (t.debit_account_id, t.credit_account_id, t.currency)
    ORDER BY t.xid, t.place
    LIMIT %(limit)s
"""
_DUE: Final = """
    CASE posted_amount WHEN 0 THEN 0 ELSE least(
        greatest(
            fee_fixed_amount + div(posted_amount::numeric * fee_parts_per_million, 1000000), fee_floor_amount
        ),
        fee_cap_amount
    ) END
"""
"""What `fees.due` makes of the terms of a hold for what is posted of it, by PostgreSQL's own arithmetic."""
_FEES: Final = f"""
    SELECT a.address, coalesce(f.currency, h.currency) AS currency, coalesce(f.id, h.id) AS hold_id,
           coalesce(h.due, 0) AS expected_amount,
           coalesce(f.posted_amount, 0) AS actual_amount,
           CASE WHEN f.id IS NULL THEN 'the hold of its fee is missing'
                WHEN h.id IS NULL THEN 'the hold that it is the fee of is missing, or has no fee'
                WHEN (f.debit_account_id, f.currency, f.amount)
                     IS DISTINCT FROM (h.debit_account_id, h.currency, h.fee_amount)
                THEN 'it does not reserve the fee of its hold'
                WHEN (f.status = 'PENDING') <> (h.status = 'PENDING' AND f.posted_amount < f.amount)
                THEN 'it did not end together with the hold that it is the fee of'
                ELSE 'what is posted is not what is due of the fee' END AS detail
    FROM (SELECT * FROM holds WHERE fee_of IS NOT NULL) f
    FULL JOIN (SELECT *, {_DUE} AS due FROM holds WHERE fee_amount <> 0) h ON h.id = f.fee_of
    LEFT JOIN accounts a ON a.id = coalesce(f.debit_account_id, h.debit_account_id)
    WHERE (f.debit_account_id, f.currency, f.amount) IS DISTINCT FROM (h.debit_account_id, h.currency, h.fee_amount)
       OR (f.status = 'PENDING') <> (h.status = 'PENDING' AND f.posted_amount < f.amount)
       OR f.posted_amount IS DISTINCT FROM h.due
    ORDER BY coalesce(f.created_time, h.created_time), coalesce(f.id, h.id)
    LIMIT %(limit)s
"""  # noqa: S608  # as above
_REVERSALS: Final = """
    SELECT a.address, r.currency, r.id AS transfer_id, coalesce(o.amount, 0) AS expected_amount,
           r.amount AS actual_amount,
           CASE WHEN o.id IS NULL THEN 'the transfer that it takes back is missing'
                WHEN o.reverses_id IS NOT NULL THEN 'what it takes back is a reversal itself'
                ELSE 'it does not go the other way between the same accounts' END AS detail
    FROM transfers r
    LEFT JOIN transfers o ON o.id = r.reverses_id
    LEFT JOIN accounts a ON a.id = r.debit_account_id
    WHERE r.reverses_id IS NOT NULL
      AND (o.reverses_id IS NOT NULL OR (o.debit_account_id, o.credit_account_id, o.currency)
           IS DISTINCT FROM (r.credit_account_id, r.debit_account_id, r.currency))
    ORDER BY r.xid, r.place
    LIMIT %(limit)s
"""
_REVERSED: Final = """
    SELECT a.address, o.currency, o.id AS transfer_id, o.amount AS expected_amount, r.amount AS actual_amount,
           'more of it is taken back than it moved' AS detail
    FROM (
        SELECT reverses_id, sum(amount) AS amount FROM transfers WHERE reverses_id IS NOT NULL GROUP BY reverses_id
    ) r
    JOIN transfers o ON o.id = r.reverses_id
    LEFT JOIN accounts a ON a.id = o.debit_account_id
    WHERE r.amount > o.amount
    ORDER BY o.xid, o.place
    LIMIT %(limit)s
"""
CHECKS: Final = (
    Check("names", "ACCOUNT_RENAMED", _NAMES),
    Check("floors", "BALANCE_BELOW_FLOOR", _FLOORS),
    Check("balances", "BALANCE_NOT_DERIVED", _BALANCES),
    Check("histories", "HISTORY_BROKEN", _HISTORIES),
    Check("ends of histories", "HISTORY_BROKEN", _ENDS),
    Check("held amounts", "HELD_NOT_DERIVED", _HELD),
    Check("holds", "HOLD_BROKEN", _HOLDS),
    Check("transfers of holds", "HOLD_BROKEN", _POSTED_HOLDS),
    Check("fees of holds", "HOLD_BROKEN", _FEES),
    Check("reversals", "REVERSAL_BROKEN", _REVERSALS),
    Check("sums of reversals", "REVERSAL_BROKEN", _REVERSED),
)


def totals(snapshot: Snapshot) -> list[Total]:
    """Return what all balances add up to, by currency."""
    return [Total(row["currency"], int(row["balance"]), int(row["user_balance"])) for row in snapshot.rows(_TOTALS)]


def breaks(found: Sequence[Total]) -> Iterator[Break]:
    """Yield the currencies that do not sum to zero."""
    for total in found:
        if total.balance:
            yield Break(
                check="CURRENCY_NOT_ZERO",
                detail="the balances do not sum to zero",
                currency=total.currency,
                actual_amount=total.balance,
            )
