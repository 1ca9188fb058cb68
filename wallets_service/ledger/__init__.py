"""The engine: what is asked of the books, decided in memory, and written in batches by group commit."""
