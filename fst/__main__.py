"""`python -m fst`, `torchrun -m fst`: the `fst` command."""

from fst.cli.app import main

main()
