"""A stateful simulator of Stripe's API: its own process, real HTTP, its own ledger."""
