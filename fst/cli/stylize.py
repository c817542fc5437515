"""`fst stylize` and `fst upscale`: pictures and videos by a trained model."""

from contextlib import closing
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from fst.errors import UserError
from fst.stylizing.options import Options, check_strength
from fst.terminal import note
from fst.upscaling.options import EnlargeOptions


def stylize(
    model: str,
    *inputs: str,
    output: Annotated[str, Parameter(alias="-o")],
    options: Annotated[Options, Parameter(name="*")] = Options(),  # noqa: B008, it is frozen
    region: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    overwrite: bool = False,
    shard: str = "1/1",
    device: str = "auto",
    dtype: str = "auto",
    compile: bool = False,
) -> int:
    """Stylize pictures and videos with a trained model.

    Args:
        model: A model file, a run folder, the name of a run or of a released model, or several,
            comma-separated. MODEL:STYLE takes one of several styles, MODEL:A=0.7,B=0.3 a blend,
            any:painting.jpg any painting, and any:folder/ what the paintings in it have in common.
        inputs: Pictures, videos, folders of them, and patterns such as 'photos/**/*.jpg'.
        output: A file for one input and one model, else a folder; NAME/ is always a folder.
        options: How to stylize.
        region: MASK=MODEL stylizes where the mask's picture is white with that model, and MODEL the
            rest; grey values mix. Repeat it for more regions: later ones lie over earlier ones.
        overwrite: Replace existing results, which are otherwise kept.
        shard: K/N stylizes the K-th of N shares of the inputs, for N processes, machines or array
            jobs with the same command.
        device: cuda, mps, cpu ...; auto takes the first available.
        dtype: fp32, fp16 or bf16; auto takes the fastest: fp16 on CUDA, bf16 on CPUs with
            instructions for it, else fp32. fp32 is exact: without TF32.
        compile: Compile the network at the first picture of each size: takes 5 to 30 seconds, pays
            off for long videos and many pictures of the same size.
    """
    from fst.batch.console import StylizeConsole
    from fst.batch.files import find_inputs, plan, take_shard, to_do
    from fst.batch.stylizing import stylize_pictures, stylize_videos
    from fst.models.model_ref import find_models
    from fst.stylizing.regions import find_regions
    from fst.stylizing.stylizer import open_several, open_stylizer

    if not inputs:
        raise UserError("nothing to stylize: fst stylize MODEL PICTURE... -o OUT")
    found, skipped = find_inputs(inputs, output)
    stylizers = open_several(find_models(model, note), device, dtype)
    regions = {
        mask: open_stylizer(ref, device, dtype) for mask, ref in find_regions(region, note).items()
    }
    for stylizer in (*stylizers.values(), *regions.values()):
        check_strength(options.strength, stylizer.most_strength)
    for stylizer in (*stylizers.values(), *regions.values()):
        if compile:
            stylizer.compile()
    planned = take_shard(plan(found, list(stylizers), output), shard)
    pictures, videos = to_do(planned, overwrite)
    with closing(StylizeConsole(len(pictures) + len(videos))) as console:
        console.tell_engines(stylizers)
        return console.run(
            stylize_pictures(pictures, stylizers, options, console.tiles, regions),
            stylize_videos(videos, stylizers, options, console.frames, regions),
            existing=len(planned) - len(pictures) - len(videos),
            skipped=skipped,
        )


def upscale(
    model: str,
    *inputs: str,
    output: Annotated[str, Parameter(alias="-o")],
    options: Annotated[EnlargeOptions, Parameter(name="*")] = EnlargeOptions(),  # noqa: B008, frozen
    overwrite: bool = False,
    shard: str = "1/1",
    device: str = "auto",
    dtype: str = "auto",
) -> int:
    """Enlarge pictures and videos with a trained model for super-resolution.

    Args:
        model: A model file, a run folder or the name of a released model.
        inputs: Pictures, videos, folders of them, and patterns such as 'photos/**/*.jpg'.
        output: A file for one input, else a folder; NAME/ is always a folder.
        options: How to enlarge.
        overwrite: Replace existing results, which are otherwise kept.
        shard: K/N enlarges the K-th of N shares of the inputs, for N processes or array jobs.
        device: cuda, mps, cpu ...; auto takes the first available.
        dtype: fp32, fp16 or bf16; auto takes the fastest on the device.
    """
    from fst.batch.console import StylizeConsole
    from fst.batch.files import find_inputs, plan, take_shard, to_do
    from fst.batch.upscaling import enlarge_pictures, enlarge_videos
    from fst.models.model_ref import find_model
    from fst.upscaling.enlarger import open_enlarger

    if not inputs:
        raise UserError("nothing to enlarge: fst upscale MODEL PICTURE... -o OUT")
    found, skipped = find_inputs(inputs, output)
    enlarger = open_enlarger(find_model(model, note), device, dtype)
    options = replace(options, scale=enlarger.scale_of(options.scale))
    planned = take_shard(plan(found, [model], output), shard)
    pictures, videos = to_do(planned, overwrite)
    with closing(StylizeConsole(len(pictures) + len(videos))) as console:
        return console.run(
            enlarge_pictures(pictures, enlarger, options, console.tiles),
            enlarge_videos(videos, enlarger, options, console.frames),
            existing=len(planned) - len(pictures) - len(videos),
            skipped=skipped,
        )
