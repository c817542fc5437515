"""Exporting a model to one file that runs elsewhere, and proving that it gives the same pictures.

>>> for agreement in export_model("the_scream", Path("scream.onnx")): print(agreement)
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.atomic import replacing
from fst.device import dtype_name, fast_dtype, pick_device, prepare_compiler
from fst.errors import UserError
from fst.models.model_file import find_model, load_model
from fst.models.model_info import ModelInfo
from fst.models.runtime import EXPORTED, ExportInfo, export_metadata
from fst.networks.plain import plain
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import read_image, resize

OPSET = 18
SHAPES = ((1, 64, 64), (1, 65, 67), (1, 241, 319), (3, 128, 96), (1, 5, 31))
"""Pictures, height and width of what a file is tried on."""
FLOOR_DB = {"fp32": 50.0, "fp16": 30.0, "bf16": 30.0}
"""Files whose pictures agree less than so with eager fp32 are not left."""


class Standalone(nn.Module):
    """All that is done to a picture, for a runtime that knows nothing of fst: any size, its types.

    Takes and returns (N, 3, H, W), float in [0, 1], or with `uint8` bytes (N, H, W, 3).
    """

    def __init__(self, network: TransformerNetwork, dtype: torch.dtype, uint8: bool) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype
        self.uint8 = uint8

    def forward(self, image: Tensor) -> Tensor:
        """Stylize; as `TransformerNetwork.forward`, in operations that keep H and W open."""
        if self.uint8:
            image = image.permute(0, 3, 1, 2).float() / 255
        height, width = image.shape[-2:]
        network = self.network
        missing: list[Any] = [
            torch.sym_max(network.min_px - px, -px % network.stride) for px in (height, width)
        ]
        # A fixed size that fits needs neither padding nor cropping, which few runtimes know.
        if fits := all(isinstance(px, int) and px == 0 for px in missing):
            padded = image
        else:
            padded = F.pad(image, [0, missing[1], 0, missing[0]], mode="replicate")
        stylized = network.body(padded.to(self.dtype)).float()
        if not fits:
            stylized = stylized[..., :height, :width]
        if self.uint8:
            return (stylized * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return stylized


class _Fp32(nn.Module):
    """A norm between halves: its sums overflow fp16."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "_Fp32":
        return self  # whatever the network around it is cast to

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.float())
        return normed.to(x.dtype)


@dataclass(frozen=True)
class Wish:
    """What an exported file is to be like; `export_model` says what each means."""

    half: bool = False
    uint8: bool = False
    size: tuple[int, int] | None = None
    device: str = "auto"


@dataclass
class Agreement:
    """How an exported file's picture compares with that of the network in eager fp32."""

    shape: tuple[int, int, int]
    """Pictures, height and width."""
    largest: float
    """The largest difference, of values in [0, 1]."""
    psnr_db: float
    """The peak signal-to-noise ratio."""

    @classmethod
    def of(cls, result: Tensor, expected: Tensor) -> "Agreement":
        """Compare two results (N, 3, H, W)."""
        difference = (result - expected).abs()
        mean_square = difference.double().square().mean().item()
        psnr = -10 * math.log10(mean_square) if mean_square else math.inf
        pictures, _, height, width = expected.shape
        return cls((pictures, height, width), difference.max().item(), psnr)

    def __str__(self) -> str:
        pictures, height, width = self.shape
        size = f"{pictures} x {height}x{width}"
        return f"{size:>13}: largest difference {self.largest:.1e}, PSNR {self.psnr_db:.1f} dB"


def export_model(
    model: str | Path,
    output: Path,
    *,
    half: bool = False,
    uint8: bool = False,
    size: tuple[int, int] | None = None,
    device: str = "auto",
    photograph: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Agreement]:
    """Write a model as `.onnx` or `.pt2`, try it, and keep it if it gives the same pictures.

    Args:
        model: what `fst.models.model_file.find_model` takes.
        output: the file; its suffix says what it becomes.
        half: compute in half precision, fp32 in and out.
        uint8: bytes (N, H, W, 3) in and out, so that a caller needs no pre- or post-processing.
        size: height and width, for runtimes that want them fixed; None leaves them open.
        device: what a `.pt2` is compiled for.
        photograph: what to try it on; None takes a picture that the package has.
        overwrite: replace `output` if it exists.
        say: is told what is being done.

    Returns:
        How it agrees with the network in eager fp32, at several sizes.

    Raises:
        FileExistsError: `output` is there.
        ImportError: what writes or runs such files is not installed.
        UserError: an unknown suffix, an exported model, or the pictures differ.
    """
    if output.suffix not in EXPORTERS:
        raise UserError(f"can't export to {output}: take one of {', '.join(EXPORTERS)}")
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists: --overwrite replaces it")
    if size is not None and min(size) < 1:
        raise UserError(f"size={size[0]}x{size[1]} must be at least 1x1")
    path = find_model(model)
    if path.suffix in EXPORTED:
        raise UserError(f"{path} is exported already: give the .safetensors that it came from")
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as own:
        picture = read_image(photograph or own)
    network, info = load_model(path)
    say(f"writing {output}" + (", which takes a minute or two" if output.suffix == ".pt2" else ""))
    with replacing(output) as temporary, _quiet():
        wish = Wish(half, uint8, size, device)
        export = EXPORTERS[output.suffix](temporary, network, info, wish)
        say("trying it")
        agreements = list(agree(temporary, network, picture, size))
        worst = min(agreements, key=lambda agreement: agreement.psnr_db)
        floor = FLOOR_DB[export.precision]
        if not worst.psnr_db >= floor:  # nor NaN
            raise UserError(
                f"{output} was not kept, it does not give the network's pictures: {worst} (in "
                f"{export.precision} at least {floor:.0f} dB are wanted)"
            )
    return agreements


def agree(
    path: Path, network: TransformerNetwork, picture: Tensor, size: tuple[int, int] | None = None
) -> Iterator[Agreement]:
    """Compare an exported file with its network in eager fp32, at `SHAPES` or one size.

    Args:
        path: the file.
        network: in fp32 on the CPU.
        picture: (1, 3, H, W) in [0, 1].
        size: the height and width that it takes, if they are fixed.
    """
    exported = EXPORTED[path.suffix](path)
    for pictures, height, width in SHAPES if size is None else ((1, *size),):
        image = resize(picture, max(height, width))[..., :height, :width]
        image = (image * 255).round() / 255  # what bytes can hold
        batch = torch.cat([image.roll(17 * number, 3) for number in range(pictures)])
        with torch.no_grad():
            expected = network(batch)
        yield Agreement.of(exported(batch).cpu(), expected)


def export_onnx(path: Path, network: TransformerNetwork, info: ModelInfo, wish: Wish) -> ExportInfo:
    """Write the network, computed as in the papers, as ONNX; the device does not matter."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "exporting to ONNX needs its tools: pip install 'fst-style-transfer[export]'"
        ) from error
    body = plain(network)
    if wish.half:
        _norms_in_fp32(body)
    module = Standalone(body, torch.float16 if wish.half else torch.float32, wish.uint8).eval()
    program = torch.onnx.export(
        module,
        (_example(wish),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["stylized"],
        dynamic_shapes={"image": _open_dimensions(wish)},
        verbose=False,
    )
    assert program is not None
    export = ExportInfo("fp16" if wish.half else "fp32", "any", wish.uint8, wish.size, OPSET)
    program.model.metadata_props.update(export_metadata(info, export))
    program.model.doc_string = f"{info.title}, a style by fst"
    program.save(str(path))
    return export


def export_package(
    path: Path, network: TransformerNetwork, info: ModelInfo, wish: Wish
) -> ExportInfo:
    """Compile the network to a `.pt2` with AOTInductor, for one kind of device."""
    place = pick_device(wish.device)
    prepare_compiler(place)
    dtype = fast_dtype(place) if wish.half else torch.float32
    precision = dtype_name(dtype)
    if wish.half and dtype == torch.float32:
        raise UserError(f"{place} computes no faster in half precision: leave --half out")
    export = ExportInfo(precision, place.type, wish.uint8, wish.size)
    module = Standalone(plain(network), dtype, wish.uint8).eval().to(place)
    module = module.to(memory_format=torch.channels_last)
    with torch.no_grad():
        program = torch.export.export(
            module,
            (_example(wish).to(place),),
            dynamic_shapes=(_open_dimensions(wish),),
        )
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(path),
            inductor_configs={
                "freezing": True,  # weights in the layout that the convolutions want
                "aot_inductor.metadata": export_metadata(info, export),
                # The wrapper only calls kernels: optimising it took four fifths of the time.
                "aot_inductor.compile_wrapper_opt_level": "O1",
            },
        )
    return export


EXPORTERS = {".onnx": export_onnx, ".pt2": export_package}
"""What writes each kind of file, by suffix."""


def _norms_in_fp32(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.InstanceNorm2d):
                setattr(parent, name, _Fp32(module))


def _example(wish: Wish) -> Tensor:
    """Return a picture of the kind that the file takes, for tracing."""
    height, width = wish.size or (65, 76)
    image = torch.rand(1 if wish.size else 2, 3, height, width)
    return (image * 255).byte().permute(0, 2, 3, 1).contiguous() if wish.uint8 else image


def _open_dimensions(wish: Wish) -> dict[int, Any] | None:
    """Return which dimensions of the input may vary: number of pictures, height and width."""
    if wish.size is not None:
        return None
    return dict.fromkeys((0, 1, 2) if wish.uint8 else (0, 2, 3), torch.export.Dim.DYNAMIC)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' warnings to themselves: nobody who exports can do anything about them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
