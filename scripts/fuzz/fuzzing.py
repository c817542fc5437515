"""What the fuzzers share: damaged bytes, odd values, and the count of what happened."""

import argparse
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from fst.errors import UserError

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e6, 10**9, 10**400, float("nan"), "", "\x1b[2J", "\ud800", [], [1], {},
    {"a": {}}, "fast", 4096, 1.5,
)  # fmt: skip
"""Values that metadata may hold in the place of the right ones."""
LIMIT_SECONDS = 10.0
"""A use that takes more CPU time is a bug; other load on the machine does not count."""
LIMIT_GB = 2.0
"""A use that takes more memory than this is a bug."""


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some changed, removed, inserted or zeroed."""
    result = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 20))):
        at = chance.randrange(len(result) or 1)
        if chance.random() < 0.5:  # headers are where it matters
            at %= 300
        kind = chance.randrange(5)
        if kind == 0 and at < len(result):
            result[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del result[at : at + chance.choice((1, 8, 500))]
        elif kind == 2:
            result[at:at] = chance.randbytes(chance.choice((1, 4, 100)))
        elif kind == 3:
            result[at : at + 8] = bytes(8)
        else:
            result = result[: at + 1]
    return bytes(result)


def peak_gb() -> float:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


@dataclass
class Tally:
    """What became of the uses of damaged files."""

    expected: tuple[type[Exception], ...] = (UserError,)
    """Errors that a command prints as one line; any other is a bug."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How many were used, refused and bugs."""
    bugs: list[str] = field(default_factory=list)
    """A line for each, with the name that repeats it."""
    slowest_seconds: float = 0.0

    def count(self, name: str, use: Callable[[], object]) -> bool:
        """Use damaged files, and count what happens; return whether they were used."""
        start, peak_before = time.process_time(), peak_gb()
        most_gb = psutil.Process().memory_info().rss / 1e9 + LIMIT_GB
        try:
            use()
            outcome = "used"
        except self.expected as error:
            outcome = "refused"
            if not str(error).strip():
                self._note(f"{name}: {error!r} has no message")
        except Exception as error:
            outcome = "bug"
            self._note(f"{name}: {error!r}"[:400])
        seconds = time.process_time() - start
        if seconds > LIMIT_SECONDS:
            self._note(f"{name}: {seconds:.0f} s of CPU")
        if (peak := peak_gb()) > max(most_gb, peak_before):
            self._note(f"{name}: {peak:.2f} GB of memory")
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        self.outcomes[outcome] += 1
        return outcome == "used"

    def _note(self, bug: str) -> None:
        self.bugs.append(bug)
        print(bug, flush=True)

    def __str__(self) -> str:
        return (
            f"{dict(self.outcomes)}, {len(self.bugs)} bugs, {peak_gb():.2f} GB and "
            f"{self.slowest_seconds:.1f} s of CPU at most"
        )


def from_command_line(
    description: str | None, fuzz: Callable[[int, int, int], Tally], one: str, several: str
) -> int:
    """Fuzz as the command line says, and print the counts; return 1 if there were bugs.

    Args:
        description: what the script does.
        fuzz: given how many, the seed, and the number of the first.
        one: what is fuzzed, in words.
        several: the same in the plural.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help=f"number of the first {one}")
    given = parser.parse_args()
    tally = fuzz(given.count, given.seed, given.first)
    print(f"{given.count} {several}: {tally}")
    return int(bool(tally.bugs))
