"""Cameras stylized live, in a window."""
