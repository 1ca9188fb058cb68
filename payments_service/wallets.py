"""The ledger of wallets_service, as this service sees it: deposits go in, each by itself posted or refused."""

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import grpc

from kobklein import client, contract, errors
from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc, wallets_pb2, wallets_pb2_grpc

METHODS: Final = contract.methods(["kobklein.wallets.v1.LedgerService"])
"""What this service calls there, for the channel, which repeats what may be repeated."""


@dataclasses.dataclass(frozen=True, slots=True)
class Deposit:
    """Money that a provider has collected for a user's wallet; its id makes it happen once."""

    id: uuid.UUID
    payment_id: uuid.UUID
    provider: str
    user_id: str
    amount: int
    currency: str
    reference: str
    description: str


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """The ledger did not post a deposit, and will not until something changes there."""

    reason: str
    message: str


class Ledger:
    """Calls the ledger in this service's own name."""

    def __init__(self, channel: grpc.aio.Channel, *, token: Callable[[], str], timeout_seconds: float) -> None:
        self._stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        self._wallets = wallets_pb2_grpc.WalletsServiceStub(channel)
        self._token = token
        self._timeout_seconds = timeout_seconds

    async def currencies(self) -> list[str]:
        """Return the currencies that the ledger offers; raises Unavailable when it does not say."""
        request = wallets_pb2.ListCurrenciesRequest()
        try:
            response = await self._wallets.ListCurrencies(
                request, timeout=self._timeout_seconds, metadata=client.metadata(self._token())
            )
        except grpc.aio.AioRpcError as error:
            raise errors.Unavailable(part="the ledger") from error
        return [currency.code for currency in response.currencies]

    async def post(self, deposits: Sequence[Deposit]) -> list[Refusal | None]:
        """Post deposits and return, in their order, None for a posted one or its refusal.

        Posting again is harmless. Raises Unavailable when the outcome is open. A request that the ledger refuses as a
        whole is cut in halves until the one deposit that is wrong stands alone.
        """
        request = ledger_pb2.PostTransfersRequest(transfers=map(_transfer, deposits))
        try:
            response = await self._stub.PostTransfers(
                request, timeout=self._timeout_seconds, metadata=client.metadata(self._token())
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise errors.Unavailable(part="the ledger") from error
            status = errors.from_rpc_error(error)
        else:
            return [_refusal(result) for result in response.results]
        if len(deposits) == 1:
            return [Refusal(status.reason, status.message)]
        middle = len(deposits) // 2
        return [*await self.post(deposits[:middle]), *await self.post(deposits[middle:])]


def _transfer(deposit: Deposit) -> ledger_pb2.Transfer:
    return ledger_pb2.Transfer(
        id=str(deposit.id),
        debit_account=f"provider/{deposit.provider}",
        credit_account=f"user/{deposit.user_id}",
        amount=deposit.amount,
        currency=deposit.currency,
        type=ledger_pb2.TRANSFER_TYPE_DEPOSIT,
        payment_id=str(deposit.payment_id),
        reference=deposit.reference,
        description=deposit.description,
    )


def _refusal(result: ledger_pb2.TransferResult) -> Refusal | None:
    if result.WhichOneof("result") == "transfer":
        return None
    return Refusal(result.error.reason, result.error.message)
