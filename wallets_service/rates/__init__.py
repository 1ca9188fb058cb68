"""What one currency is worth in another: where rates come from, and which of them is used."""
