"""The `fst` command: trainings and optimize are handed to Hydra; the rest takes ordinary flags.

Each command's flags and help come from a function's own signature and docstring. What a command
needs is imported when it runs, so that `fst --help` does not wait for torch.
"""

import importlib
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from fst import __version__
from fst.cache import prepare_caches
from fst.errors import UserError, one_line, one_line_errors, raise_on_termination
from fst.stylizing.options import LESS_MEMORY, Options, check_strength
from fst.terminal import note, open_streams, say
from fst.threads import let_threads_sleep

app = App(
    name="fst",
    version=__version__,
    help="Train feed-forward neural style transfer networks, and stylize with them in real time.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # ours says so
)
app.register_install_completion_command(
    help="Install completion of commands and flags for the current shell."
)


@app.command
def train(*overrides: str) -> None:
    """Train a network on a style: `fst train style=PICTURE data.path=DIR` (Hydra key=value).

    `fst train --help` lists the configuration groups, `fst train style=PICTURE data.path=DIR
    --cfg job` shows every setting.
    """
    raise AssertionError("main() runs this command before flags are parsed")


@app.command
def train_upscaler(*overrides: str) -> None:
    """Train a network for super-resolution: `fst train-upscaler data.path=DIR` (Hydra key=value).

    `fst train-upscaler data.path=DIR --cfg job` shows every setting.
    """
    raise AssertionError("main() runs this command before flags are parsed")


@app.command
def prepare(
    source: str,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    size: int = 512,
    quality: int = 95,
    column: str = "image",
    files: str = "data/train-*",
) -> None:
    """Write photographs once at the size that training needs, as parquet files.

    Training then decodes each about twice as fast. An interrupted command continues when it is
    run again, and verifies what there is.

    Args:
        source: A folder of pictures or of parquet files, a pattern such as 'shards/*.parquet', or
            coco, which is downloaded.
        output: The folder for the parquet files.
        size: The photographs' shorter side in pixels; smaller ones stay as they are. Training cuts
            squares of half of it and more, and scales them to 288 pixels.
        quality: JPEG quality, 1 to 100.
        column: The column of parquet files that holds the pictures.
        files: Which files of COCO; 'data/train-0000[0-3]*' is a tenth of it (2 GB).
    """
    from fst.stylizing.console import WorkConsole
    from fst.training.prepare import prepare as write_photographs
    from fst.training.sources import describe_source

    data = describe_source(source, column, files)
    with closing(WorkConsole()) as console:
        prepared = write_photographs(data, output, size, quality, console.show)
    say(f"{output}: {prepared}")
    say(f"train with  fst train style=PICTURE data=parquet data.path={output}")


@app.command
def learn(
    model: str,
    *pictures: str,
    photographs: Path,
    output: Annotated[Path, Parameter(alias="-o")],
    images: int = 100,
    size: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Add styles to a model that has several, in half a minute each; the others stay as they are.

    Args:
        model: A model that was trained with `fst train styles=...` or `any=...`.
        pictures: The new styles' pictures, or folders of them. Each style gets its file's name.
        photographs: A folder of photographs to learn on; a hundred are plenty.
        output: The .safetensors file for the model with all styles; a sheet is written beside it.
        images: How many photographs are seen for each style.
        size: The style picture's shorter side when it is measured: larger gives larger strokes.
            Default: as the model was trained, 448 for styles= and 320 for any=.
        device: cuda, mps, cpu ...; auto takes the first available.
        overwrite: Replace the file if it exists.
    """
    from fst.stylizing.console import WorkConsole
    from fst.training.learning import add_styles, sheet_of

    if not pictures:
        raise UserError("no style to learn: fst learn MODEL PICTURE... --photographs DIR -o OUT")
    with closing(WorkConsole()) as console:
        learnt = add_styles(
            model,
            pictures,
            photographs,
            output,
            images,
            size,
            device,
            overwrite,
            console.show,
            note,
        )
    for style in learnt:
        terms = ", ".join(f"{k} {v:.3f}" for k, v in style.losses.items() if "/" not in k)
        say(f"{style.name}: {terms}")
    say(f"sheet          {sheet_of(output)}")
    say(f"stylize with   fst stylize {output}:{learnt[0].name} PICTURE... -o OUT")


@app.command
def optimize(*overrides: str) -> None:
    """Optimise one picture by Gatys' method: `fst optimize content=PHOTO style=PICTURE` (Hydra).

    It takes minutes and no training. `fst optimize content=PHOTO style=PICTURE --cfg job` shows
    every setting.
    """
    raise AssertionError("main() runs this command before flags are parsed")


@app.command
def stylize(
    model: str,
    *inputs: str,
    output: Annotated[str, Parameter(alias="-o")],
    options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008, it is frozen
    overwrite: bool = False,
    shard: str = "1/1",
    device: str = "auto",
    dtype: str = "auto",
    compile: bool = False,
) -> int:
    """Stylize pictures and videos with a trained model.

    Args:
        model: A model file, a run folder, the name of a run or of a released model, or several,
            comma-separated. MODEL:STYLE takes one of several styles, MODEL:A=0.7,B=0.3 a blend, and
            any:painting.jpg any painting.
        inputs: Pictures, videos, folders of them, and patterns such as 'photos/**/*.jpg'.
        output: A file for one input and one model, else a folder; NAME/ always is one.
        options: How to stylize.
        overwrite: Replace existing results, which are otherwise kept.
        shard: K/N stylizes the K-th of N shares of the inputs, for N processes, machines or array
            jobs with the same command.
        device: cuda, mps, cpu ...; auto takes the first available.
        dtype: fp32, fp16 or bf16; auto takes the fastest: fp16 on CUDA, bf16 on CPUs with
            instructions for it, else fp32. fp32 is exact: without TF32.
        compile: Compile the network at the first picture of each size: takes 5 to 30 seconds, pays
            off for long videos and many pictures of the same size.
    """
    from fst.stylizing.batch import stylize_pictures, stylize_videos
    from fst.stylizing.console import StylizeConsole
    from fst.stylizing.files import find_inputs, plan, take_shard, to_do
    from fst.stylizing.stylizer import load_several

    if not inputs:
        raise UserError("nothing to stylize: fst stylize MODEL PICTURE... -o OUT")
    found, skipped = find_inputs(inputs, output)
    _say_shadowed(model)
    stylizers = load_several(model, device, dtype)
    for stylizer in stylizers.values():
        check_strength(options.strength, stylizer.most_strength)
    for stylizer in stylizers.values():
        if compile:
            stylizer.compile()
    planned = take_shard(plan(found, list(stylizers), output), shard)
    pictures, videos = to_do(planned, overwrite)
    with closing(StylizeConsole(len(pictures) + len(videos))) as console:
        console.tell_engines(stylizers)
        return console.run(
            stylize_pictures(pictures, stylizers, options, console.tiles),
            stylize_videos(videos, stylizers, options, console.frames),
            existing=len(planned) - len(pictures) - len(videos),
            skipped=skipped,
        )


@app.command
def upscale(
    model: str,
    *inputs: str,
    output: Annotated[str, Parameter(alias="-o")],
    scale: float | None = None,
    size: int | None = None,
    tile_px: int | None = None,
    quality: int = 95,
    overwrite: bool = False,
    shard: str = "1/1",
    device: str = "auto",
    dtype: str = "auto",
) -> int:
    """Enlarge pictures and videos with a trained model for super-resolution.

    Args:
        model: A model file, a run folder or the name of a released model.
        inputs: Pictures, videos, folders of them, and patterns such as 'photos/**/*.jpg'.
        output: A file for one input, else a folder (as is NAME/).
        scale: How many times as wide and as high, from 1 to the model's factor, the default.
        size: Scale the shorter side to this many pixels first.
        tile_px: Tile side in the small picture; 0 never tiles. Results are the same.
        quality: Quality of JPEG and WebP files, 1 to 100.
        overwrite: Replace existing results, which are otherwise kept.
        shard: K/N enlarges the K-th of N shares of the inputs, for N processes or array jobs.
        device: cuda, mps, cpu ...; auto takes the first available.
        dtype: fp32, fp16 or bf16; auto takes the fastest on the device.
    """
    from fst.stylizing.console import StylizeConsole
    from fst.stylizing.files import find_inputs, plan, take_shard, to_do
    from fst.upscaling.enlarger import load_enlarger
    from fst.upscaling.files import enlarge_pictures, enlarge_videos

    if not inputs:
        raise UserError("nothing to enlarge: fst upscale MODEL PICTURE... -o OUT")
    Options(size=size, tile_px=tile_px, quality=quality)  # checks them
    found, skipped = find_inputs(inputs, output)
    _say_shadowed(model)
    enlarger = load_enlarger(model, device, dtype)
    scale = enlarger.scale_of(scale)
    planned = take_shard(plan(found, [model], output), shard)
    pictures, videos = to_do(planned, overwrite)
    with closing(StylizeConsole(len(pictures) + len(videos))) as console:
        return console.run(
            enlarge_pictures(pictures, enlarger, scale, size, tile_px, quality, console.tiles),
            enlarge_videos(videos, enlarger, scale, size, tile_px, console.frames),
            existing=len(planned) - len(pictures) - len(videos),
            skipped=skipped,
        )


@app.command
def export(
    model: str,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    half: bool = False,
    uint8: bool = False,
    size: str | None = None,
    device: str = "auto",
    range: Literal[1, 255] = 1,
    blend: bool = False,
    photograph: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Export a model to one file that runs elsewhere, and check that its results agree.

    Args:
        model: A model file, a run folder or the name of a released model.
        output: The file: .onnx for onnxruntime, OpenCV, OpenVINO, TensorRT and browsers; .pt2 for
            torch without Python overhead, compiled for this kind of machine.
        half: Compute in half precision (fp16; in a .pt2 for the CPU bf16), fp32 in and out.
        uint8: Take and return bytes (N, H, W, 3) instead of floats (N, 3, H, W) in [0, 1].
        size: HEIGHTxWIDTH, for runtimes that need a fixed size; otherwise any size is accepted.
        device: What a .pt2 is compiled for: cuda, cpu ...
        range: The value of white in and out: 1, or 255 for OpenCV's own style transfer sample.
        blend: Take the shares of the styles as a second input, (N, K), of a model of K styles:
            the .onnx then has all of them, and any blend.
        photograph: The picture to check it on; otherwise one that ships with fst.
        overwrite: Replace the file if it exists.
    """
    from fst.models.export import export_model

    height_width = None
    if size is not None:
        numbers = size.split("x")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise UserError(f"size={size} must be HEIGHTxWIDTH, such as 480x640")
        height_width = (int(numbers[0]), int(numbers[1]))
    _say_shadowed(model)
    agreements = export_model(
        model,
        output,
        half=half,
        uint8=uint8,
        size=height_width,
        device=device,
        range_max=range,
        blend=blend,
        photograph=photograph,
        overwrite=overwrite,
        say=note,
    )
    say("against the network in eager fp32 (pictures x height x width):")
    say(*agreements)
    say(f"{output} ({output.stat().st_size / 1e6:.2f} MB)")


@app.command
def benchmark(
    *,
    networks: str = "johnson,fast",
    sizes: str | None = None,
    engines: str = "fst,fst-fp32,onnxruntime",
    device: str = "auto",
    rounds: int = 9,
    training: bool = False,
    batch: int = 4,
    crop: int = 256,
    loss_network: str = "slim",
    weights: Path | None = None,
    output: Annotated[Path, Parameter(alias="-o")] = Path("benchmark"),
) -> None:
    """Measure the speed of networks on this machine against a plain eager pass.

    With --training, measure training steps against plain ones, and where their time goes.

    Args:
        networks: Networks or models, comma-separated.
        sizes: Some of 256, 512, 480p, 720p, 1080p, 4k, comma-separated; by default 256,512,720p on
            a CPU and 512,720p,1080p,4k on a GPU.
        engines: Some of fst (what stylizing uses), fst-fp32, fst-compiled, pt2, pt2-half,
            onnxruntime, onnxruntime-half, openvino, comma-separated. Those that are not installed
            are reported and skipped.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        rounds: Timing rounds; the median is reported.
        training: Measure training steps of the networks, with random weights, not stylizing.
        batch: Images of a training step.
        crop: Side in pixels of what the loss sees of a training image.
        loss_network: That of a training step: slim, which ships with fst, or vgg16.
        weights: A file of VGG16 weights; by default the cache, or a download.
        output: The folder for benchmark.md and benchmark.json, or training.md and training.json.
    """
    if training:
        _benchmark_training(networks, loss_network, weights, batch, crop, device, rounds, output)
        return
    from fst.device import pick_device
    from fst.measuring import benchmark as measuring
    from fst.models.model_name import split_models
    from fst.report import command_line

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
    command = command_line()
    say(*measuring.markdown(measured, command).split("\n"))
    say(*measuring.write_report(output, measured, command))


def _benchmark_training(
    networks: str,
    loss_network: str,
    weights: Path | None,
    batch: int,
    crop: int,
    device: str,
    rounds: int,
    output: Path,
) -> None:
    from fst.measuring import step_benchmark
    from fst.report import command_line

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
    command = command_line()
    say(*step_benchmark.markdown(measured, command).split("\n"))
    say(*step_benchmark.write_report(output, measured, command))


@app.command
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
    from fst.measuring.evaluation import evaluate as measure
    from fst.measuring.evaluation_report import require_plotting, write_report
    from fst.report import command_line
    from fst.stylizing.console import WorkConsole

    require_plotting()
    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output} is a file, but an evaluation needs a folder")
    with closing(WorkConsole()) as console:
        report = measure(
            models,
            output,
            photographs=photographs,
            style=style,
            images=images,
            sizes=_numbers("sizes", sizes),
            curves=_numbers("curves", curves),
            iterations=iterations,
            start=start,
            videos=video or [],
            weights=weights,
            device=device,
            progress=console.show,
            packages=pt2 or [],
        )
    command = command_line()
    written = write_report(output, report, command, device)
    say(*(output / "evaluation.md").read_text(encoding="utf-8").split("\n"))
    say(*written)
    say(f"watch with  tensorboard --logdir {output}")


@app.command
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
    from fst.report import command_line
    from fst.stylizing.console import WorkConsole

    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output} is a file, but an evaluation needs a folder")
    with closing(WorkConsole()) as console:
        scores, sheet = evaluate_upscalers(models, photographs, device, console.show)
    command = command_line()
    say(*markdown(scores, command).split("\n"))
    say(*write_upscaling_report(output, scores, sheet, command))


def _numbers(name: str, text: str) -> list[int]:
    parts = [part for part in text.split(",") if part]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"{name}={text} must be comma-separated numbers of pixels")
    return [int(part) for part in parts]


@app.command
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
        size: Their side in pixels; they are cut square from the middle.
        pt2: A .pt2 model to include; it executes native code, so patterns never include one.
        device: cuda, mps, cpu ...; auto takes a GPU if available.
        output: The folder for comparison.jpg, .md, .json and the TensorBoard file; an earlier
            comparison in it is replaced.
    """
    from fst.measuring.comparison import compare as measure
    from fst.measuring.comparison_report import markdown, write_comparison
    from fst.report import command_line

    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output} is a file, but a comparison needs a folder")
    compared = measure(
        runs,
        photographs=photographs,
        images=images,
        size=size,
        device=device,
        progress=note,
        packages=pt2 or [],
    )
    command = command_line()
    say(*markdown(compared, command).split("\n"))
    say(*write_comparison(output, compared, command))


@app.command
def models() -> None:
    """List the released models, which every command takes by name."""
    from fst.models.released import released_models

    rows = [("NAME", "TITLE", "NETWORK", "PARAMETERS", "SIZE", "LICENCE")]
    notes: list[list[str]] = [[]]
    for model in released_models():
        painting = ", ".join(filter(None, (model.title, model.artist, model.year)))
        size = f"{model.size_bytes / 1e6:.2f} MB"
        parameters = f"{model.parameters:,}"
        rows.append((model.name, painting, model.network, parameters, size, model.licence))
        names = ", ".join(model.styles)
        styles = f"{len(model.styles)} styles, {model.name}:STYLE: {names}" if names else ""
        takes = f"any painting, {model.name}:PAINTING.jpg" if model.takes_any else ""
        notes.append([model.note, styles, takes])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, about in zip(rows, notes, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())
        for line in filter(None, about):
            say(f"    {line}")


def _say_shadowed(models: str) -> None:
    """Say which models are runs that have the name of a released model."""
    from fst.models.model_file import shadowed_release
    from fst.models.model_name import split_models

    for model in split_models(models):
        if line := shadowed_release(model):
            note(line)


@app.command
def inspect(model: str) -> None:
    """Show what a model file contains: .safetensors, .onnx, .pt2, or another project's .pth.

    Args:
        model: A model file, a run folder or the name of a released model.
    """
    from fst.models.inspection import inspect_model

    _say_shadowed(model)
    for name, value in inspect_model(model).items():
        say(f"{name:<16} {value}")


# By name: it is imported when it is called.
app.command("fst.webcam:webcam", help="Stylize a camera live, in a window.")


def main() -> None:
    """Run the command in `sys.argv`; a mistake in it is one line on stderr and exit status 2."""
    open_streams()
    prepare_caches()
    let_threads_sleep()
    if sys.argv[1:2] and sys.argv[1] in ("train", "train-upscaler", "optimize"):
        command = sys.argv[1]
        sys.argv[0:2] = [f"fst {command}"]
        module = f"fst.{command.replace('-', '_')}"
        importlib.import_module(module).main()  # Hydra's, imported when it is needed
        return
    raise_on_termination()
    with one_line_errors("fst", LESS_MEMORY):
        try:
            sys.exit(app(exit_on_error=False, print_error=False, result_action="return_value"))
        except CycloptsError as error:
            raise UserError(f"{one_line(error)} (see fst --help)") from error


if __name__ == "__main__":
    main()
