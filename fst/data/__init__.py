"""Photographs: where they come from, the batches of a training, `fst prepare`."""
