"""Payment providers, each behind the same small protocol."""
