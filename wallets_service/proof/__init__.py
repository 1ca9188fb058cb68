"""The proofs of the books: the chain of seals, the verification of everything, and trial balances."""
