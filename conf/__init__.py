"""The configuration groups of `fst train`."""
