"""Routes that charge cards: at most as many at a time as the services behind them take."""

import grpc
from google.protobuf import message

from gateway import endpoints, exchanges, metadata
from kobklein import errors

_OVERLOADED = errors.reason_of(errors.Overloaded)


class PaymentEndpoint(endpoints.JsonEndpoint):
    """Serves a route of a method that reaches a payment provider."""

    async def _respond(
        self, exchange: exchanges.Exchange, request: message.Message, carried: metadata.Metadata
    ) -> None:
        place = exchange.slot.become_payment(exchange.subject, dict(carried).get("idempotency-key", ""))
        try:
            await super()._respond(exchange, request, carried)
        except grpc.aio.AioRpcError as error:
            if errors.from_rpc_error(error).reason == _OVERLOADED:
                place.refused()
            raise
