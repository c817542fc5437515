"""`fst serve`: models behind an HTTP interface. Needs the extra `serve`."""
