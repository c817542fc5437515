"""Picture files in and out, and sheets of pictures."""
