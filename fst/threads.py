"""How torch's CPU threads wait for one another."""

import os


def let_threads_sleep() -> None:
    """Have threads sleep while they wait, unless `OMP_WAIT_POLICY` says otherwise.

    Threads that spin lose their core to any other program, and all wait for the one that did. To be
    called before torch is imported: OpenMP reads the environment then.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
