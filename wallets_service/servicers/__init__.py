"""The RPCs of every service of the contract: parse, call the use case in its transaction, render."""
