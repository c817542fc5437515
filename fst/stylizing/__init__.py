"""Trained networks applied to tensors, pictures, frames and files."""
