"""Kill a training run at random moments with SIGKILL, and compare its model with a straight run's.

python scripts/measure/kill_and_resume.py --kills 10 style=PICTURE data.path=DIR ...

Everything after the flags is passed to `fst train`. The run restarts immediately after each kill,
must say that it resumes where there is a state, and its folder must be readable; at the end both
models must be identical, bit for bit. A run that ends before all kills needs more images.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fst.models.model_file import read_model
from fst.training.run_folder import RunFolder


def main() -> int:
    """Run both and print what happened; return 0 if all went as it must."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given, overrides = parser.parse_known_args()
    moments = random.Random(given.seed)
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    with tempfile.TemporaryDirectory() as name:

        def command(runs: str) -> list[str]:
            places = [f"runs_dir={Path(name) / runs}", "name=run"]
            return [sys.executable, "-m", "fst", "train", *overrides, *places]

        started = time.monotonic()
        subprocess.run(command("straight"), env=environment, check=True, capture_output=True)
        seconds = time.monotonic() - started
        *_, last = (
            (Path(name) / "straight" / "run" / "metrics.jsonl")
            .read_text(encoding="utf-8")
            .splitlines()
        )
        training_seconds = json.loads(last)["seconds"]
        print(
            f"straight run: {seconds:.0f} s, of which {training_seconds:.0f} s are steps",
            flush=True,
        )
        killed = RunFolder(Path(name) / "killed" / "run")
        seen: int | None = None
        for kill in range(1, given.kills + 1):
            process = subprocess.Popen(
                command("killed"), env=environment, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            began = next(
                (ln for ln in process.stdout if ln.startswith(("starting", "resuming"))), ""
            )
            if not began.startswith("resuming" if seen is not None else "starting"):
                print(f"  {kill}: IT DID NOT RESUME ({began.strip() or process.wait()})")
                return 1
            # The kills are evenly spaced on average; every fourth comes before the first step.
            share = 0.01 if kill % 4 == 0 else 2 * training_seconds / given.kills
            wait = moments.uniform(0, share)
            try:
                ended = process.wait(wait)
                print(f"  {kill}: ENDED with status {ended} before it was killed")
                return 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            state = killed.read_state()
            seen = state["seen_images"] if state else None
            model = read_model(killed.model).info.seen_images if killed.model.exists() else "none"
            print(
                f"  {kill}: killed after {wait:.1f} s; state at {seen} images, model at {model}",
                flush=True,
            )
        subprocess.run(command("killed"), env=environment, check=True, capture_output=True)
        models = [RunFolder(Path(name) / runs / "run").model for runs in ("straight", "killed")]
        same_tensors = tensors(models[0]) == tensors(models[1])
        print(
            f"{given.kills} kills: the models are the same, bit for bit"
            if same_tensors
            else "THE MODELS DIFFER"
        )
    return 0 if same_tensors else 1


def tensors(model: Path) -> dict[str, bytes]:
    """Return the bytes of every tensor of a model file."""
    network = read_model(model).network
    return {key: value.numpy().tobytes() for key, value in network.state_dict().items()}


if __name__ == "__main__":
    sys.exit(main())
