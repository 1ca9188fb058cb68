"""A stateful simulator of the Stripe API."""
