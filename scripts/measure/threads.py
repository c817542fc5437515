r"""Rates of training and of stylizing on a CPU, alone and beside one busy process.

python scripts/measure/threads.py painting.jpg photographs/ --images 60 --rounds 3
python scripts/measure/threads.py --rounds 3

The first trains by `experiment=quick`; the second stylizes pictures of 640x480. A row is a number
of processes (`torchrun`; a step has one image of each), of threads in each, and how the threads
wait for one another: spinning, or asleep, which `fst` sets. The rows take turns; the table has
medians. `efficiency` is the rate alone, as a share of that of one process with one thread times the
cores in use.
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
from typing import NamedTuple

BUSY = "while True: pass"
WAITING = {
    "asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # for 3 ms: what libgomp does unless it is set
}


class Row(NamedTuple):
    """How a training uses the cores."""

    processes: int
    threads: int
    waiting: str


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("style", type=Path, nargs="?", help="of a training")
    parser.add_argument("photographs", type=Path, nargs="?", help="of a training")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    given, overrides = parser.parse_known_args()

    cores = os.cpu_count() or 1
    single = Row(1, 1, "asleep")
    rows = [single, Row(1, cores, "spinning"), Row(1, cores, "asleep")]
    if given.style:
        rows.append(Row(cores, 1, "asleep"))
    rates: defaultdict[tuple[Row, bool], list[float]] = defaultdict(list)
    for _ in range(given.rounds):
        for row in rows:
            for beside in (False, True):
                busy = subprocess.Popen([sys.executable, "-c", BUSY]) if beside else None
                measured = (
                    training_rate(given, overrides, row) if given.style else stylizing_rate(row)
                )
                rates[row, beside].append(measured)
                if busy:
                    busy.kill()
                    busy.wait()
    print(
        "| processes | threads in each | they wait | images/s alone | efficiency |"
        " beside a busy process |\n|---|---|---|---|---|---|"
    )
    medians = {of: statistics.median(measured) for of, measured in rates.items()}
    for row in rows:
        alone = medians[row, False]
        efficiency = alone / (medians[single, False] * row.processes * row.threads)
        print(
            f"| {row.processes} | {row.threads} | {row.waiting} | {alone:.2f} | {efficiency:.0%} |"
            f" {medians[row, True]:.2f} |"
        )


def environment_of(row: Row) -> dict[str, str]:
    """Return the environment in which a process has the threads of a row."""
    return os.environ | {"OMP_NUM_THREADS": str(row.threads)} | WAITING[row.waiting]


def stylizing_rate(row: Row) -> float:
    """Return the pictures/s of a network that is benchmarked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "fst", "benchmark", "--networks", "fast", "--sizes", "480p",
            "--engines", "fst", "-o", folder,
        ]  # fmt: skip
        subprocess.run(command, env=environment_of(row), check=True, capture_output=True)
        report = json.loads((Path(folder) / "benchmark.json").read_text(encoding="utf-8"))
    milliseconds = next(it["milliseconds"] for it in report["rows"] if it["engine"] == "fst")
    return 1000 / float(milliseconds)


def training_rate(given: argparse.Namespace, overrides: list[str], row: Row) -> float:
    """Return the images/s of the second half of a short training."""
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={row.processes}", "--standalone"]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, *launcher, "-m", "fst", "train", f"style={given.style}",
            "experiment=quick", f"data.path={given.photographs}", f"runs_dir={folder}", "name=run",
            "data.heldout_images=1", f"training.batch_size={row.processes}",
            f"training.images={given.images}", f"training.report_every={given.images // 2}",
            *overrides,
        ]  # fmt: skip
        subprocess.run(command, env=environment_of(row), check=True, capture_output=True)
        *_, last = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    report: dict[str, float] = json.loads(last)
    return report["images_per_second"]


if __name__ == "__main__":
    main()
