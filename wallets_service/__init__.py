"""Wallets and the double-entry ledger under them."""
