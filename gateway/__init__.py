"""The edge: REST and webhooks in, gRPC out, derived from the contract."""
