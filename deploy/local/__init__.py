"""The whole system on one machine, with an embedded PostgreSQL."""
