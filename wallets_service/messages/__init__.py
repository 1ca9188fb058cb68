"""The contract's messages from and to the values of this service, by the file of the contract."""
