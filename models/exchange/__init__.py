"""Speaking with policy servers and their clients: bytes, names and meanings. Imports no torch."""
