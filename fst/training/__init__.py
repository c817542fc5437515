"""Training: the loop, what each task does in it, run folders and tracking."""
