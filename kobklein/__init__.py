"""The toolkit both services and the gateway stand on; the code generated from `protos/kobklein` lands beside it."""
