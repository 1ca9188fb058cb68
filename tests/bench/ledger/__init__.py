"""The ledger's measurements; each module's `run` is one part of the benchmark."""
