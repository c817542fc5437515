"""Model files: written, read, exported, inspected; and the runtimes of exported ones."""
