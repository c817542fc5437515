"""The perceptual losses, and the frozen networks in whose features they compare."""
