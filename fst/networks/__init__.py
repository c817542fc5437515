"""The transformer networks, their layers, and the registry of their names."""
