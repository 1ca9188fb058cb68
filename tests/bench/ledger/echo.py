"""A bare grpc.aio server: the cost of an RPC in Python, with nothing of ours in it.

`python -m tests.bench.ledger.echo` prints its port. It answers PostTransfers with one answer made beforehand, of the
size that the ledger's answers have, parsing and rendering messages as the ledger does.
"""

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from kobklein.wallets.v1 import ledger_pb2, ledger_pb2_grpc
from tests.bench.ledger import load


class Servicer(ledger_pb2_grpc.LedgerServiceServicer):
    """Answers one transfer with another one, whatever is asked."""

    def __init__(self) -> None:
        request = ledger_pb2.PostTransfersRequest.FromString(load.request(load.uniform, 1))
        posted = ledger_pb2.TransferResult(transfer=request.transfers[0])
        posted.transfer.debit_balance_after = posted.transfer.credit_balance_after = 10**9
        posted.transfer.created_time.GetCurrentTime()
        self._answer = ledger_pb2.PostTransfersResponse(results=[posted])

    async def PostTransfers(
        self, request: ledger_pb2.PostTransfersRequest, context: Any
    ) -> ledger_pb2.PostTransfersResponse:
        return self._answer


async def main() -> None:
    server = grpc.aio.server()
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
