"""`fst benchmark`, `fst evaluate`, `fst compare` ...: how fast and how good models are."""

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fst.cli.work_console import WorkConsole
from fst.errors import UserError
from fst.terminal import note, say


def benchmark(
    *,
    networks: str = "johnson,fast",
    sizes: str | None = None,
    engines: str = "fst,fst-fp32,onnxruntime",
    device: str = "auto",
    rounds: int = 9,
    output: Annotated[Path, Parameter(alias="-o")] = Path("benchmark"),
) -> None:
    """Measure the speed of networks on this machine against a plain eager pass.

    Args:
        networks: Networks or models, comma-separated.
        sizes: Some of 256, 512, 480p, 720p, 1080p, 4k, comma-separated; by default 256,512,720p on
            a CPU and 512,720p,1080p,4k on a GPU.
        engines: Some of fst (what stylizing uses), fst-fp32, fst-compiled, pt2, pt2-half,
            onnxruntime, onnxruntime-half, openvino, comma-separated. Those that are not installed
            are reported and skipped.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        rounds: Timing rounds; the median is reported.
        output: The folder for benchmark.md and benchmark.json.
    """
    from fst.device import pick_device
    from fst.measuring import benchmark as measuring
    from fst.models.model_name import split_models

    if sizes is None:
        on_gpu = pick_device(device).type == "cuda"
        sizes = "512,720p,1080p,4k" if on_gpu else "256,512,720p"
    measured = measuring.benchmark(
        split_models(networks),
        sizes.split(","),
        engines.split(","),
        device=device,
        rounds=rounds,
        progress=note,
    )
    _say_report(
        partial(measuring.markdown, measured), partial(measuring.write_report, output, measured)
    )


def benchmark_training(
    *,
    networks: str = "johnson,fast",
    loss_network: str = "slim",
    weights: Path | None = None,
    batch: int = 4,
    crop: int = 256,
    device: str = "auto",
    rounds: int = 9,
    output: Annotated[Path, Parameter(alias="-o")] = Path("benchmark"),
) -> None:
    """Measure training steps of networks against plain ones, and where their time goes.

    Args:
        networks: Networks, comma-separated; they have random weights.
        loss_network: slim, which ships with fst, or vgg16.
        weights: A file of VGG16 weights; by default the cache, or a download.
        batch: Images of a step.
        crop: Side in pixels of what the loss sees of an image.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        rounds: Timing rounds; the median is reported.
        output: The folder for training.md and training.json.
    """
    from fst.measuring import step_benchmark

    measured = step_benchmark.benchmark_steps(
        networks.split(","),
        loss_network,
        weights,
        batch,
        crop,
        device=device,
        rounds=rounds,
        progress=note,
    )
    _say_report(
        partial(step_benchmark.markdown, measured),
        partial(step_benchmark.write_report, output, measured),
    )


def evaluate(
    *models: str,
    photographs: Path | None = None,
    style: Path | None = None,
    images: int = 12,
    sizes: str = "256,512,1024",
    curves: str = "256,512",
    iterations: int = 300,
    start: str = "noise",
    video: list[Path] | None = None,
    weights: Path | None = None,
    pt2: list[Path] | None = None,
    device: str = "auto",
    output: Annotated[Path, Parameter(alias="-o")] = Path("evaluation"),
) -> None:
    """Evaluate models on photographs: quality under VGG16, Gatys' method, artefacts, speed.

    Args:
        models: Run folders, model files or names; paths without a model are skipped.
        photographs: A folder; by default the photographs that the first run's training held out.
        style: The style picture; by default the one that the run was trained on.
        images: Number of photographs at the smallest size; at larger sizes fewer, in proportion
            to their pixels.
        sizes: Sides in pixels, comma-separated, at which seconds are compared.
        curves: Sides in pixels at which the objective is compared with L-BFGS; '' skips this, the
            slow part.
        iterations: Iterations of L-BFGS.
        start: What L-BFGS starts from: noise, as in the paper, or content.
        video: A video file on which temporal stability is measured; several with one flag each.
        weights: A file of VGG16 weights; by default the cache, or a download.
        pt2: A .pt2 model to include; it executes native code, so patterns never include one.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        output: The folder for the report; run an interrupted command again to resume it.
    """
    from fst.measuring.evaluation import Extent
    from fst.measuring.evaluation import evaluate as measure
    from fst.measuring.evaluation_report import require_plotting, write_report
    from fst.report import command_line

    require_plotting()
    _check_folder(output, "an evaluation")
    extent = Extent(
        images=images,
        sizes=_numbers("sizes", sizes),
        curves=_numbers("curves", curves),
        iterations=iterations,
        start=start,
    )
    with closing(WorkConsole()) as console:
        report = measure(
            models,
            output,
            extent,
            photographs=photographs,
            style=style,
            videos=video or [],
            weights=weights,
            device=device,
            packages=pt2 or [],
            progress=console.show,
        )
    command = command_line()
    written = write_report(output, report, command, device)
    say(*(output / "evaluation.md").read_text(encoding="utf-8").split("\n"))
    say(*written)
    say(f"watch with  tensorboard --logdir {output}")


def evaluate_upscaler(
    *models: str,
    photographs: list[Path],
    device: str = "auto",
    output: Annotated[Path, Parameter(alias="-o")] = Path("upscaling"),
) -> None:
    """Score models for super-resolution on downscaled pictures, beside bicubic enlargement.

    Args:
        models: Run folders, model files or names.
        photographs: A folder of pictures at full resolution, such as Set5; several with one flag
            each.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        output: The folder for upscaling.md, .json and .png, a sheet of details.
    """
    from fst.measuring.upscaling import evaluate_upscalers, markdown, write_upscaling_report

    _check_folder(output, "an evaluation")
    with closing(WorkConsole()) as console:
        scores, sheet = evaluate_upscalers(models, photographs, device, console.show)
    _say_report(partial(markdown, scores), partial(write_upscaling_report, output, scores, sheet))


def compare(
    *runs: str,
    photographs: Path | None = None,
    images: int = 6,
    size: int = 256,
    pt2: list[Path] | None = None,
    device: str = "auto",
    output: Annotated[Path, Parameter(alias="-o")] = Path("comparison"),
) -> None:
    """Compare trained models: a sheet of the same photographs, a table of settings and figures.

    Args:
        runs: Run folders (runs/painting/* for a whole sweep), model files, or names of runs and
            released models.
        photographs: A folder; by default the photographs that the first run's training held out.
        images: Number of photographs.
        size: Side in pixels of the squares that are cut from their middle.
        pt2: A .pt2 model to include; it executes native code, so patterns never include one.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        output: The folder for comparison.jpg, .md, .json and the TensorBoard file; an earlier
            comparison in it is replaced.
    """
    from fst.measuring.comparison import compare as measure
    from fst.measuring.comparison_report import markdown, write_comparison

    _check_folder(output, "a comparison")
    compared = measure(
        runs,
        photographs=photographs,
        images=images,
        size=size,
        device=device,
        progress=note,
        packages=pt2 or [],
    )
    _say_report(partial(markdown, compared), partial(write_comparison, output, compared))


def _check_folder(output: Path, what: str) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output} is a file, but {what} needs a folder")


def _say_report(markdown: Callable[[str], str], write: Callable[[str], Iterable[object]]) -> None:
    """Print a report and write its files; both name the command that made it."""
    from fst.report import command_line

    command = command_line()
    say(*markdown(command).split("\n"))
    say(*write(command))


def _numbers(name: str, text: str) -> list[int]:
    parts = [part for part in text.split(",") if part]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"{name}={text} must be comma-separated numbers of pixels")
    return [int(part) for part in parts]
