"""Training and optimisation: the loops, their data, run folders and tracking."""
