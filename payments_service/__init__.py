"""Payments: money asked from outside, through a provider, for a user's wallet."""
