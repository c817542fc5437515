"""Gatys' method: the picture itself is optimised."""
