"""The checks of what is posted together: groups are in one piece, and conversions are what their quotes promised."""

from typing import Final

from wallets_service import addresses, fee_legs
from wallets_service.ledger.entries import CONVERSION
from wallets_service.proof.verification.statements import Check

_GROUPS: Final = """
    SELECT a.address, t.currency, t.id AS transfer_id, 0 AS expected_amount, 0 AS actual_amount,
           CASE WHEN f.id IS NULL THEN 'the first transfer of its group is missing'
                WHEN f.group_id IS DISTINCT FROM t.group_id THEN 'the first transfer of its group is not in it'
                WHEN f.xid <> t.xid THEN 'another transaction wrote it than the first transfer of its group'
                ELSE 'it does not stand right behind another one of its group' END AS detail
    FROM transfers t
    LEFT JOIN transfers before
        ON before.group_id = t.group_id AND before.xid = t.xid AND before.place::bigint + 1 = t.place
    LEFT JOIN transfers f ON f.id = t.group_id
    LEFT JOIN holds h ON h.id = t.group_id
    LEFT JOIN accounts a ON a.id = t.debit_account_id
    WHERE t.group_id <> t.id AND before.id IS NULL AND h.id IS NULL
    ORDER BY t.xid, t.place
    LIMIT %(limit)s
"""
"""Only the first transfer of a group can be without another one before it, so groups are runs that begin with theirs.

A group that begins with a hold is named after this, and is left alone: what gives the same hold back later may begin
another group of its name. That the last transfers of a group are gone does not show here, but in their histories.
"""
_ACCEPTED: Final = "SELECT q.* FROM fx_quotes q JOIN transfers t ON t.id = q.transfer_id"
"""A quote is accepted if the transfer that it names is posted."""
_PROMISED: Final = f"""
    (VALUES
        (1, '{addresses.USERS}' || q.user_id, '{addresses.LIQUIDITY}', q.sell_amount, q.sell_currency, '{CONVERSION}'),
        (2, '{addresses.USERS}' || q.user_id, '{addresses.FEES}', q.fee_amount, q.sell_currency, '{fee_legs.TYPE}'),
        (3, '{addresses.LIQUIDITY}', '{addresses.USERS}' || q.user_id, q.buy_amount, q.buy_currency, '{CONVERSION}'),
        (4, '{addresses.LIQUIDITY}', '{addresses.SPREAD}', q.spread_amount, q.buy_currency, '{CONVERSION}')
    ) AS leg (number, debit, credit, amount, currency, type)
"""
"""What `quotes.legs` makes of a quote `q`, but for the legs of nothing, which it leaves out."""
_CONVERSIONS: Final = f"""
    WITH accepted AS ({_ACCEPTED}),
         legs AS (
             SELECT q.transfer_id AS group_id, leg.*, NULL AS id
             FROM accepted q CROSS JOIN LATERAL {_PROMISED}
             WHERE leg.amount <> 0
             UNION ALL
             SELECT t.group_id, NULL, d.address, c.address, t.amount, t.currency, t.type, t.id
             FROM transfers t
             LEFT JOIN accounts d ON d.id = t.debit_account_id
             LEFT JOIN accounts c ON c.id = t.credit_account_id
             WHERE t.group_id IN (SELECT transfer_id FROM accepted)
         ),
         compared AS (
             SELECT group_id, debit, currency, min(number) AS number, min(id::text)::uuid AS id,
                    count(number) AS promised_count, coalesce(sum(amount) FILTER (WHERE id IS NULL), 0) AS promised,
                    count(id) AS posted_count, coalesce(sum(amount) FILTER (WHERE id IS NOT NULL), 0) AS posted
             FROM legs
             GROUP BY group_id, debit, credit, currency, type
         )
    SELECT c.debit AS address, c.currency, coalesce(c.id, c.group_id) AS transfer_id,
           c.promised AS expected_amount, c.posted AS actual_amount,
           CASE WHEN c.posted_count < c.promised_count THEN 'a leg that its quote promised is missing'
                WHEN c.posted_count > c.promised_count THEN 'its quote promised no such leg'
                ELSE 'its quote promised another amount' END AS detail
    FROM compared c
    JOIN transfers f ON f.id = c.group_id
    WHERE (c.promised_count, c.promised) <> (c.posted_count, c.posted)
    ORDER BY f.xid, f.place, c.number, c.id
    LIMIT %(limit)s
"""  # noqa: S608  # put together from constants of this module and of what the service writes
"""Of legs between the same accounts, as many must be posted as promised, and the same amount: there is never more than
one. What is missing is told at the transfer that is the quote's acceptance."""
_UNPROMISED: Final = f"""
    SELECT a.address, t.currency, t.id AS transfer_id, 0 AS expected_amount, t.amount AS actual_amount,
           'it is called a conversion, and belongs to no accepted quote' AS detail
    FROM transfers t
    LEFT JOIN transfers o ON o.id = t.reverses_id
    LEFT JOIN accounts a ON a.id = t.debit_account_id
    WHERE t.type = '{CONVERSION}'
      AND o.type IS DISTINCT FROM t.type
      AND NOT EXISTS (SELECT FROM ({_ACCEPTED}) q WHERE q.transfer_id = t.group_id)
    ORDER BY t.xid, t.place
    LIMIT %(limit)s
"""  # noqa: S608  # as above
CHECKS: Final = (
    Check("groups", "GROUP_BROKEN", _GROUPS),
    Check("legs of conversions", "CONVERSION_BROKEN", _CONVERSIONS),
    Check("conversions of no quote", "CONVERSION_BROKEN", _UNPROMISED),
)
