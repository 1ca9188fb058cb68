"""A report as the contract has it."""

from typing import Final

from kobklein import money
from kobklein.payments.v1 import payments_pb2
from payments_service import analytics, messages
from payments_service.analytics import Query, Report, Summary

_PERIODS: Final = {
    payments_pb2.PAYMENT_PERIOD_UNSPECIFIED: None,
    payments_pb2.PAYMENT_PERIOD_DAY: "day",
    payments_pb2.PAYMENT_PERIOD_WEEK: "week",
    payments_pb2.PAYMENT_PERIOD_MONTH: "month",
}


def query(request: payments_pb2.GetPaymentAnalyticsRequest) -> Query:
    """Return what a request asks for; raises InvalidArgument."""
    return analytics.query(
        start_date=request.start_date,
        end_date=request.end_date,
        time_zone=request.time_zone,
        period=_PERIODS[request.group_by],
        currency=request.currency,
        method=messages.method(request.method) if request.method else None,
        user_id=request.user_id,
    )


def render(report: Report) -> payments_pb2.PaymentAnalytics:
    """Return a report as callers see it; raises SumOverflow."""
    return payments_pb2.PaymentAnalytics(
        start_date=report.query.start.isoformat(),
        end_date=report.query.end.isoformat(),
        time_zone=report.query.time_zone,
        total=_summary(report.total),
        methods=[
            payments_pb2.MethodSummary(method=messages.method_value(method), summary=_summary(summary))
            for method, summary in report.methods.items()
        ],
        periods=[
            payments_pb2.PeriodSummary(start_date=start.isoformat(), summary=_summary(summary))
            for start, summary in sorted(report.periods.items())
        ],
    )


def _summary(summary: Summary) -> payments_pb2.PaymentSummary:
    count = summary.count
    return payments_pb2.PaymentSummary(
        count=count,
        statuses=[
            payments_pb2.StatusCount(status=messages.status_value(status), count=part, rate=part / count)
            for status, part in sorted(summary.statuses.items())
        ],
        volumes=[
            payments_pb2.Volume(
                currency=currency,
                count=volume.count,
                amount=money.in_64_bits(volume.amount, currency, name="the volume"),
                average_amount=volume.average_amount,
                refunded_amount=money.in_64_bits(volume.refunded_amount, currency, name="what was given back"),
            )
            for currency, volume in sorted(summary.volumes.items())
        ],
    )
