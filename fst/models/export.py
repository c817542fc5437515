"""Exporting a model to one file that runs elsewhere, and checking that its pictures are the same.

>>> for agreement in export_model(find_model("the_scream"), Path("scream.onnx")): print(agreement)
"""

import io
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
from torch.func import functional_call

from fst.atomic import replacing
from fst.device import dtype_name, fast_dtype, pick_device, prepare_compiler
from fst.errors import UserError
from fst.models.export_info import ExportInfo, export_metadata
from fst.models.export_options import ExportOptions
from fst.models.model import Model
from fst.models.model_file import open_model, read_model
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef
from fst.models.runtime import EXPORTED
from fst.networks.layers import Clamp, ScaledTanh
from fst.networks.plain import plain
from fst.networks.styled import StyledNetwork, norm_parameters
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler
from fst.pictures.image import read_image, resize

OPSET = 18
SHAPES = ((1, 64, 64), (1, 65, 67), (1, 241, 319), (3, 128, 96), (1, 5, 31))
"""Number of pictures, height and width of the test inputs for an exported file."""
FLOOR_DB = {"fp32": 50.0, "fp16": 30.0, "bf16": 30.0}
"""The least PSNR to eager fp32, by precision: exports below it are rejected."""


class AnySize(nn.Module):
    """A transformer network with its padding, in operations that keep H and W dynamic."""

    def __init__(self, network: TransformerNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        """Stylize like `TransformerNetwork.forward`, computing in the network's dtype."""
        image = image.to(self.dtype)
        height, width = image.shape[-2:]
        network = self.network
        missing: list[Any] = [
            torch.sym_max(network.min_px - px, -px % network.stride) for px in (height, width)
        ]
        # A fixed size that fits needs neither padding nor cropping, which few runtimes support.
        if all(isinstance(px, int) and px == 0 for px in missing):
            return network.body(image)
        padded = F.pad(image, [0, missing[1], 0, missing[0]], mode="replicate")
        return network.body(padded)[..., :height, :width]


class Standalone(nn.Module):
    """The network with its conversions, for runtimes that know nothing about fst.

    Takes and returns (N, 3, H, W), float in [0, `range_max`], or with `uint8` bytes (N, H, W, 3).
    """

    def __init__(
        self, network: TransformerNetwork | Upscaler, dtype: torch.dtype, options: ExportOptions
    ) -> None:
        super().__init__()
        network = network.to(dtype)
        self.network = network if isinstance(network, Upscaler) else AnySize(network, dtype)
        self.uint8 = options.uint8
        self.range_max = options.range

    def forward(self, image: Tensor) -> Tensor:
        """Return the network's result for a picture of any size."""
        return self.converted(image, self.network)

    def converted(self, image: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Return a network's result with the conversions around it."""
        if self.uint8:
            image = image.permute(0, 3, 1, 2).float()
        white = 255 if self.uint8 else self.range_max
        if white != 1:
            image = image / white
        result = network(image).float()
        if white != 1:
            result = result * white
        if self.uint8:
            return result.round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return result


class StandaloneBlend(Standalone):
    """A network of several styles, whose shares are its second input."""

    def __init__(self, styled: StyledNetwork, dtype: torch.dtype, options: ExportOptions) -> None:
        network = plain(styled.network)
        _replace(network, nn.InstanceNorm2d, _FedNorm)
        _replace(network, (ScaledTanh, Clamp), _FedOutput)
        super().__init__(network, dtype, options)
        *_, output = (name for name, each in network.named_modules() if type(each) is _FedOutput)
        own = norm_parameters(styled.network)
        self.names = [f"network.{name}" for name in (*own, f"{output}.palette")]
        self.sizes = [*(len(values) for values in own.values()), styled.palettes[0].numel()]
        vectors = torch.cat([styled.vectors(), styled.palettes.flatten(1)], dim=1)
        self.register_buffer("vectors", vectors.detach())

    def forward(self, image: Tensor, shares: Tensor) -> Tensor:  # type: ignore[override]
        """Return the pictures, each in its own blend of the styles, shares (N, K)."""
        values = torch.split(shares @ self.get_buffer("vectors"), self.sizes, dim=1)
        fed = dict(zip(self.names, (each[:, :, None, None] for each in values), strict=True))
        return self.converted(image, lambda x: functional_call(self.network, fed, (x,)))


class _FedNorm(nn.Module):
    """An instance norm whose scales and shifts, (N, C, 1, 1), are put in its parameters' place."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        wide = F.instance_norm(x.float(), eps=self.eps)  # its sums overflow fp16
        return (wide * self.weight + self.bias).to(x.dtype)


class _FedOutput(nn.Module):
    """The output's nonlinearity behind a palette, (N, 12, 1, 1), that is put in its place."""

    def __init__(self, output: nn.Module) -> None:
        super().__init__()
        self.output = output
        self.palette = nn.Parameter(torch.zeros(1, 12, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        red, green, blue, offset = (self.palette[:, entry::4] for entry in range(4))
        moved = z + red * z[:, :1] + green * z[:, 1:2] + blue * z[:, 2:] + offset
        result: Tensor = self.output(moved.to(z.dtype))
        return result


class _Fp32(nn.Module):
    """A norm computed in fp32 inside a half-precision network: its sums overflow fp16."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "_Fp32":
        return self  # stays fp32 when the network is cast

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.float())
        return normed.to(x.dtype)


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
        if math.isnan(psnr):
            psnr = -math.inf  # worse than any
        pictures, _, height, width = expected.shape
        return cls((pictures, height, width), difference.max().item(), psnr)

    def __str__(self) -> str:
        pictures, height, width = self.shape
        size = f"{pictures} x {height}x{width}"
        return f"{size:>13}: largest difference {self.largest:.1e}, PSNR {self.psnr_db:.1f} dB"


def export_model(
    model: ModelRef,
    output: Path,
    options: ExportOptions = ExportOptions(),  # noqa: B008, it is frozen
    *,
    photograph: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Agreement]:
    """Write a model as `.onnx` or `.pt2`, test it, and keep it if its pictures are the same.

    Args:
        model: what `find_model` returned.
        output: the file to write; its suffix selects the format.
        options: what the file takes and returns. A file for a blend takes the shares in the order
            of the model's styles; their sum should be 1. OpenCV's own sample for style transfer
            (samples/dnn/fast_neural_style.py) gives and expects 255 for white.
        photograph: the picture to test it on; None takes one that ships with the package.
        overwrite: replace `output` if it exists.
        say: called with a line of progress.

    Returns:
        The agreement with the network in eager fp32, at several sizes.

    Raises:
        FileExistsError: `output` exists.
        ImportError: the packages that write or run such files are not installed.
        UserError: an unknown suffix, an exported model, or the pictures differ.
    """
    if output.suffix not in EXPORTERS:
        raise UserError(
            f"cannot export to {output}: the suffix must be one of {', '.join(EXPORTERS)}"
        )
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists: --overwrite replaces it")
    if options.blend and output.suffix != ".onnx":
        raise UserError("--blend is for .onnx files")
    if model.is_exported:
        raise UserError(f"{model.path} is already exported: use the .safetensors it came from")
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as own:
        picture = read_image(photograph or own)
    read = _all_styles(model) if options.blend else open_model(model)
    network = read.network
    say(f"writing {output}" + (", which takes a minute or two" if output.suffix == ".pt2" else ""))
    with replacing(output) as temporary, _quiet():
        export = EXPORTERS[output.suffix](temporary, network, read.info, options)
        say("comparing it with the network")
        compared = _blends(network) if isinstance(network, StyledNetwork) else [(network, None)]
        agreements = [
            agreement
            for alone, shares in compared
            for agreement in agree(temporary, alone, picture, options.height_width, shares)
        ]
        worst = min(agreements, key=lambda agreement: agreement.psnr_db)
        floor = FLOOR_DB[export.precision]
        if worst.psnr_db < floor:
            raise UserError(
                f"{output} was not kept because its pictures differ from the network's: {worst} "
                f"({export.precision} requires at least {floor:.0f} dB)"
            )
    return agreements


def _all_styles(ref: ModelRef) -> Model:
    model = read_model(ref.path)
    if not isinstance(model.network, StyledNetwork) or len(model.info.styles) < 2:
        raise UserError(f"--blend needs a model of several styles, and {ref.path} is not one")
    if ref.choice:
        raise UserError(f"--blend exports every style of the model: leave out :{ref.choice}")
    return model


def _blends(network: StyledNetwork) -> list[tuple[TransformerNetwork, Tensor]]:
    """Return the first style alone and all of them alike, as networks and as shares."""
    alike = torch.full((len(network.codes),), 1 / len(network.codes))
    first = torch.eye(len(network.codes))[0]
    return [(network.folded(shares), shares) for shares in (first, alike)]


def agree(
    path: Path,
    network: TransformerNetwork | Upscaler,
    picture: Tensor,
    size: tuple[int, int] | None = None,
    shares: Tensor | None = None,
) -> Iterator[Agreement]:
    """Compare an exported file with its network in eager fp32, at `SHAPES` or one size.

    Args:
        path: the file.
        network: in fp32 on the CPU.
        picture: (1, 3, H, W) in [0, 1].
        size: its height and width, if they are fixed.
        shares: (K,), for a file that takes them: those of which `network` is the blend.
    """
    exported = EXPORTED[path.suffix](path)
    exported.shares = shares
    for pictures, height, width in SHAPES if size is None else ((1, *size),):
        image = resize(picture, max(height, width))[..., :height, :width]
        image = (image * 255).round() / 255  # values that bytes can hold
        batch = torch.cat([image.roll(17 * number, 3) for number in range(pictures)])
        with torch.no_grad():
            expected = network(batch)
        yield Agreement.of(exported(batch).cpu(), expected)


def export_onnx(
    path: Path,
    network: TransformerNetwork | StyledNetwork | Upscaler,
    info: ModelInfo,
    options: ExportOptions,
) -> ExportInfo:
    """Write the network as ONNX, computed as in the papers, for any device."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "exporting to ONNX needs extra packages: pip install 'fst-style-transfer[export]'"
        ) from error
    dtype = torch.float16 if options.half else torch.float32
    inputs = {"image": _example(options)}
    shapes = {"image": _open_dimensions(options)}
    if isinstance(network, StyledNetwork):
        module: Standalone = StandaloneBlend(network, dtype, options)
        inputs["shares"] = torch.full((len(inputs["image"]), len(network.codes)), 0.5)
        shapes["shares"] = None if options.size else {0: torch.export.Dim.DYNAMIC}
    else:
        body = plain(network)
        if options.half:
            _replace(body, nn.InstanceNorm2d, _Fp32)
        module = Standalone(body, dtype, options)
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=["enlarged" if isinstance(network, Upscaler) else "stylized"],
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None
    export = ExportInfo(
        "fp16" if options.half else "fp32",
        "any",
        options.uint8,
        options.height_width,
        OPSET,
        options.range,
        options.blend,
    )
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with paths of this machine
    program.model.metadata_props.update(export_metadata(info, export))
    kind = "super-resolution" if isinstance(network, Upscaler) else "a style"
    program.model.doc_string = f"{info.title}, {kind} by fst"
    program.save(str(path))
    return export


def export_package(
    path: Path, network: TransformerNetwork | Upscaler, info: ModelInfo, options: ExportOptions
) -> ExportInfo:
    """Compile the network to a `.pt2` with AOTInductor, for one kind of device."""
    chosen_device = pick_device(options.device)
    prepare_compiler(chosen_device)
    dtype = fast_dtype(chosen_device) if options.half else torch.float32
    precision = dtype_name(dtype)
    if options.half and dtype == torch.float32:
        raise UserError(f"{chosen_device} is no faster in half precision: omit --half")
    export = ExportInfo(
        precision, chosen_device.type, options.uint8, options.height_width, None, options.range
    )
    module = Standalone(plain(network), dtype, options).eval().to(chosen_device)
    module = module.to(memory_format=torch.channels_last)
    with torch.no_grad():
        program = torch.export.export(
            module,
            (_example(options).to(chosen_device),),
            dynamic_shapes=(_open_dimensions(options),),
        )
        content = io.BytesIO()  # torch's own writer reports a full disk as a RuntimeError
        # The way that torch documents: AOTInductor has no public name yet.
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=content,
            inductor_configs={
                "freezing": True,  # weights in the layout that suits the convolutions
                "aot_inductor.metadata": export_metadata(info, export),
                # The wrapper only calls kernels; optimising it took four fifths of the time.
                "aot_inductor.compile_wrapper_opt_level": "O1",
            },
        )
    path.write_bytes(content.getbuffer())
    return export


EXPORTERS: dict[str, Callable[[Path, Any, ModelInfo, ExportOptions], ExportInfo]] = {
    ".onnx": export_onnx,
    ".pt2": export_package,
}
"""The exporter of each format, by suffix."""


def _replace(
    network: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    by: Callable[[Any], nn.Module],
) -> None:
    """Replace the modules of some kinds."""
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, kinds):
                setattr(parent, name, by(module))


def _example(options: ExportOptions) -> Tensor:
    """Return an input for tracing."""
    height, width = options.height_width or (65, 76)
    image = torch.rand(1 if options.size else 2, 3, height, width)
    return (image * 255).byte().permute(0, 2, 3, 1).contiguous() if options.uint8 else image


def _open_dimensions(options: ExportOptions) -> dict[int, Any] | None:
    """Return the dynamic dimensions of the input: number of pictures, height and width."""
    if options.size is not None:
        return None
    return dict.fromkeys((0, 1, 2) if options.uint8 else (0, 2, 3), torch.export.Dim.DYNAMIC)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' warnings, which users cannot do anything about."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
