"""Everything the use cases read from and write to the tables, but the batches, which `postings` writes."""
