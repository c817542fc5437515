r"""Training rate of `experiment=quick` on a CPU, alone and beside one busy process.

python scripts/measure_threads.py painting.jpg photographs/ --images 60 --rounds 3

Each row is a number of torch's threads and how OpenMP's threads wait for one another: spinning, or
asleep (`OMP_WAIT_POLICY=PASSIVE`). The rows take turns; the table has medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

BUSY = "while True: pass"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("style", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    given, overrides = parser.parse_known_args()

    threads = os.cpu_count() or 1
    rows = [(n, policy) for n in sorted({1, threads}) for policy in ("ACTIVE", "PASSIVE")]
    rates: defaultdict[tuple[int, str, bool], list[float]] = defaultdict(list)
    for _ in range(given.rounds):
        for number, policy in rows:
            for beside in (False, True):
                busy = subprocess.Popen([sys.executable, "-c", BUSY]) if beside else None
                rates[number, policy, beside].append(rate(given, overrides, number, policy))
                if busy:
                    busy.kill()
                    busy.wait()
    print("| threads | they wait | images/s alone | beside a busy process |\n|---|---|---|---|")
    for number, policy in rows:
        alone, beside_it = (
            statistics.median(rates[number, policy, beside]) for beside in (False, True)
        )
        waiting = "asleep" if policy == "PASSIVE" else "spinning"
        print(f"| {number} | {waiting} | {alone:.2f} | {beside_it:.2f} |")


def rate(given: argparse.Namespace, overrides: list[str], threads: int, policy: str) -> float:
    """Return the images/s of the second half of a short training."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": policy}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "fst.cli", "train", f"style={given.style}", "experiment=quick",
            f"data.path={given.photographs}", f"runs_dir={folder}", "name=run",
            "data.heldout_images=1", f"training.images={given.images}",
            f"training.report_every={given.images // 2}", *overrides,
        ]  # fmt: skip
        subprocess.run(command, env=environment, check=True, capture_output=True)
        *_, last = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    report: dict[str, float] = json.loads(last)
    return report["images_per_second"]


if __name__ == "__main__":
    main()
