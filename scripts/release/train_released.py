r"""Train the released styles, all at once on one GPU, into run folders of their names.

python scripts/release/train_released.py shared/styles shared/photos/train runs/released \
    --heldout shared/photos/val --weights vgg16.safetensors --images 40000

Further `key=value` overrides go to every `fst train`. The same command resumes. One GPU takes turns
between the trainings, so that no start, compilation or wait of one leaves it idle.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STEADY = ("init=any", "loss.temporal_weight=10")
WIDE = ("network.width=64", "network.coarse_width=96", "network.full_width=16")
STYLES = {
    "starry_night": ("the_starry_night_bright", *STEADY, "loss.style_pictures=2"),
    "great_wave": ("the_great_wave", *STEADY),
    "the_scream": ("the_scream", *STEADY),
    "composition_vii": ("composition_vii", *STEADY),
    "udnie": ("udnie", "init=any"),
    "water_lilies": ("water_lilies", *STEADY),
    "wheat_field": ("wheat_field_with_cypresses", *STEADY),
    "mondrian": ("mondrian_composition", *STEADY),
    "starry_night_wide": ("the_starry_night_bright", *WIDE),
    "great_wave_wide": ("the_great_wave", *WIDE),
    "the_scream_wide": ("the_scream", *WIDE),
}
"""By name of the model: the painting's file, without its suffix, and what is special about it."""


@dataclass
class Run:
    """A training that was started."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]

    def last_report(self) -> dict[str, float]:
        """Return the last line of its metrics, or nothing if there is none yet."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        report: dict[str, float] = json.loads(lines[-1]) if lines else {}
        return report


def main() -> int:
    """Train; return how many of the trainings did not complete."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paintings", type=Path, help="folder of the paintings")
    parser.add_argument("photographs", type=Path, help="folder of photographs to train on")
    parser.add_argument("out", type=Path, help="folder of the run folders and logs")
    parser.add_argument("--heldout", type=Path, required=True, help="folder of other photographs")
    parser.add_argument("--weights", type=Path, required=True, help="VGG16's weights")
    parser.add_argument("--images", type=int, default=40_000, help="images a style")
    parser.add_argument("--only", default=",".join(STYLES), help="names, with commas between")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop all after this")
    given, overrides = parser.parse_known_args()

    given.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    runs = [start(name, given, overrides) for name in given.only.split(",")]
    stopped = False
    while any(run.process.poll() is None for run in runs):
        time.sleep(5)
        seconds = time.monotonic() - began
        seen = sum(run.last_report().get("seen_images", 0) for run in runs)
        wanted = given.images * len(runs)
        print(f"{seconds:4.0f} s: {seen:,.0f} of {wanted:,} images", flush=True)
        if seconds > given.seconds and not stopped:
            stopped = True
            for run in runs:
                run.process.send_signal(signal.SIGTERM)  # each saves first
    for run in runs:
        report = run.last_report()
        print(f"{run.name}: exit status {run.process.returncode}, {json.dumps(report)}")
    return sum(run.process.returncode != 0 for run in runs)


def start(name: str, given: argparse.Namespace, overrides: list[str]) -> Run:
    """Start the training of a style, its output going into a log beside its run folder."""
    painting, *special = STYLES[name]
    command = [
        sys.executable, "-m", "fst", "train", f"name={name}", f"runs_dir={given.out}",
        f"style={given.paintings / painting}.jpg", f"data.path={given.photographs}",
        f"data.heldout_path={given.heldout}", f"loss_network.weights={given.weights}",
        f"training.images={given.images}", "training.batch_size=8",
        f"training.save_every={given.images // 4}", "training.report_every=800",
        *special, *overrides,
    ]  # fmt: skip
    with (given.out / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    return Run(name, given.out / name, process)


if __name__ == "__main__":
    sys.exit(main())
