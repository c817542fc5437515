"""How fast each engine is here, against a plain eager pass and the limit of the machine.

Engines take turns, so that a busy machine is busy for all of them, and medians are compared.
"""

import ctypes
import ctypes.util
import dataclasses
import io
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from fst.atomic import replacing
from fst.device import DTYPES, fast_dtype, pick_device
from fst.errors import UserError
from fst.models.export import Agreement, export_model
from fst.models.model_file import describe, find_model, load_model, save_model
from fst.models.runtime import EXPORTED
from fst.networks.cost import count_flops
from fst.networks.plain import plain
from fst.networks.registry import NETWORKS, network_name
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import read_image, resize
from fst.report import machine_name, number, seconds_of, table
from fst.stylizing.stylizer import Stylizer

SIZES = {
    "256": (256, 256),
    "512": (512, 512),
    "480p": (480, 640),
    "720p": (720, 1280),
    "1080p": (1080, 1920),
    "4k": (2160, 3840),
}
"""Heights and widths by name."""
REFERENCE = "reference"
"""A plain fp32 eager pass of the network as the papers write it, NCHW: what the rest is against."""
Run = Callable[[Tensor], Tensor]


@dataclass
class Case:
    """What an engine is made for."""

    network: TransformerNetwork
    """In fp32, on the CPU; an engine takes a copy of it."""
    model: Path
    """The same, as a file."""
    size: tuple[int, int]
    device: torch.device
    folder: Path
    """For the files of this case."""


@dataclass
class Row:
    """One engine with one network at one size."""

    network: str
    size: str
    engine: str
    milliseconds: float
    """A picture, the network alone: median."""
    end_to_end_milliseconds: float
    """From the bytes of a JPEG to the bytes of a JPEG: median."""
    times_reference: float
    """How many times as fast as the reference."""
    psnr_db: float | None
    """To the reference's picture; None for the reference."""
    matmul_share: float
    """Its multiply-adds, as the network is written, of the machine's best matmul here."""
    bandwidth_share: float | None
    """Bytes its convolutions must read and write, of the GPU's memory bandwidth here."""
    peak_megabytes: float | None
    """Memory that a pass takes at its peak, beside what was there."""


@dataclass
class Machine:
    """Where it was measured."""

    name: str
    threads: int
    torch: str
    matmul_gflops: dict[str, float]
    """The best that a square matmul reaches, by dtype."""
    copy_gigabytes_per_second: float | None
    """The best that a copy reaches, read and write counted; on a GPU."""


def eager(dtype: str, compiled: bool = False) -> Callable[[Case], Run]:
    """Return what makes our own path in torch, in `auto`, `fp32`, `bf16` or `fp16`."""

    def make(case: Case) -> Run:
        network, info = load_model(case.model)
        chosen = fast_dtype(case.device) if dtype == "auto" else DTYPES[dtype]
        stylizer = Stylizer(network, info, case.device, chosen)
        if compiled:
            stylizer.compile()
        return stylizer.run

    return make


def reference(case: Case) -> Run:
    """Return the plain pass."""
    return plain(case.network).to(case.device)


def exported(suffix: str, half: bool) -> Callable[[Case], Run]:
    """Return what exports the network and runs the file; a `.pt2` at the case's size alone."""

    def make(case: Case) -> Run:
        path = case.folder / f"{'half' if half else 'full'}{suffix}"
        size = case.size if suffix == ".pt2" else None
        export_model(case.model, path, half=half, size=size, device=str(case.device))
        return EXPORTED[suffix](path, "auto" if suffix == ".pt2" else str(case.device))

    return make


def openvino(case: Case) -> Run:
    """Return OpenVINO's own runtime on the exported ONNX, in the precision it chooses."""
    try:
        import openvino
    except ImportError as error:
        raise ImportError("the engine openvino needs it: pip install openvino") from error
    path = case.folder / "openvino.onnx"
    export_model(case.model, path)
    request = openvino.Core().compile_model(path, "CPU").create_infer_request()

    def run(image: Tensor) -> Tensor:
        return torch.from_numpy(request.infer({0: image.numpy(force=True)})[0])

    return run


ENGINES: dict[str, Callable[[Case], Run]] = {
    REFERENCE: reference,
    "fst": eager("auto"),
    "fst-fp32": eager("fp32"),
    "fst-compiled": eager("auto", compiled=True),
    "pt2": exported(".pt2", half=False),
    "pt2-half": exported(".pt2", half=True),
    "onnxruntime": exported(".onnx", half=False),
    "onnxruntime-half": exported(".onnx", half=True),
    "openvino": openvino,
}
"""What makes each engine. `fst` is what stylizing uses if nothing is said."""


def benchmark(
    networks: list[str],
    sizes: list[str],
    engines: list[str],
    device: str = "auto",
    rounds: int = 9,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Machine, list[Row]]:
    """Measure engines x networks x sizes.

    Args:
        networks: names of networks (with random weights) or models, as `find_model` takes them.
        sizes: names in `SIZES`.
        engines: names in `ENGINES`; the reference is always measured.
        device: `cuda`, `cpu` ...; `auto` takes CUDA where there is one.
        rounds: how often each is timed, in turns; the medians are told.
        progress: is told what is being done.

    Raises:
        UserError: an unknown size or engine.
        FileNotFoundError: there is no such model.
        ImportError: an engine is not installed.
    """
    for given, known, what in ((sizes, SIZES, "size"), (engines, ENGINES, "engine")):
        if unknown := [name for name in given if name not in known]:
            raise UserError(f"unknown {what} {unknown[0]!r}; choose among {', '.join(known)}")
    if rounds < 1:
        raise UserError(f"rounds={rounds} must be at least 1")
    place = pick_device(device)
    progress("measuring the machine")
    machine = measure_machine(place)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            model = _as_file(name, Path(folder))
            for size in sizes:
                network, info = load_model(model)
                here = Path(folder) / f"{len(rows)}"
                case = Case(network, model, SIZES[size], place, here)
                names = list(dict.fromkeys([REFERENCE, *engines]))
                label = name if name in NETWORKS else f"{info.title or name} ({info.network})"
                rows += measure_case(case, label, size, names, rounds, machine, progress)
    return machine, rows


@torch.no_grad()
def measure_case(
    case: Case,
    label: str,
    size: str,
    engines: list[str],
    rounds: int,
    machine: Machine,
    progress: Callable[[str], None],
) -> list[Row]:
    """Time the engines on one network and size, in turns, and compare their pictures."""
    image = _picture(*case.size).to(case.device)
    runs: dict[str, Run] = {}
    results: dict[str, Tensor] = {}
    memory: dict[str, float | None] = {}
    for engine in engines:
        progress(f"{label} {size}: {engine}, getting ready")
        runs[engine] = ENGINES[engine](case)
        runs[engine](image)  # compiles, allocates
        result, memory[engine] = _with_peak(runs[engine], image)
        results[engine] = result.cpu()
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    whole: dict[str, list[float]] = {engine: [] for engine in engines}
    jpeg = _encode(image.cpu())
    for done in range(rounds):
        progress(f"{label} {size}: round {done + 1} of {rounds}")
        for engine in engines:
            seconds[engine].append(seconds_of(case.device, runs[engine], image))
            whole[engine].append(
                seconds_of(case.device, _end_to_end, runs[engine], jpeg, case.device)
            )
    flops = count_flops(case.network, *case.size)
    best = statistics.median(seconds[REFERENCE])
    rows = []
    for engine in engines:
        median = statistics.median(seconds[engine])
        moved = _bytes_moved(case.network, *case.size) / median / 1e9
        copied = machine.copy_gigabytes_per_second
        rows.append(
            Row(
                label,
                size,
                engine,
                median * 1e3,
                statistics.median(whole[engine]) * 1e3,
                best / median,
                None
                if engine == REFERENCE
                else Agreement.of(results[engine], results[REFERENCE]).psnr_db,
                flops / median / 1e9 / max(machine.matmul_gflops.values()),
                moved / copied if copied else None,
                memory[engine],
            )
        )
    return rows


def measure_machine(device: torch.device) -> Machine:
    """Measure the best that matmuls and copies reach."""
    matmul = {}
    side = 8192 if device.type == "cuda" else 2048
    for name, dtype in DTYPES.items():
        if device.type == "cpu" and name == "fp16":
            continue  # emulated
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        fastest = min(seconds_of(device, a.matmul, b) for _ in range(8))
        matmul[name] = 2 * side**3 / fastest / 1e9
    copied = None
    if device.type == "cuda":
        block = torch.empty(2**30, dtype=torch.uint8, device=device)
        fastest = min(seconds_of(device, block.clone) for _ in range(8))
        copied = 2 * block.numel() / fastest / 1e9
    return Machine(machine_name(device), torch.get_num_threads(), torch.__version__, matmul, copied)


def markdown(machine: Machine, rows: list[Row], command: str) -> str:
    """Return the measurements as a Markdown page."""
    peaks = ", ".join(f"{name} {value:,.0f}" for name, value in machine.matmul_gflops.items())
    copied = machine.copy_gigabytes_per_second
    bandwidth = f"; copies {copied:,.0f} GB/s" if copied else ""
    lines = [
        f"{machine.name}, {machine.threads} threads, torch {machine.torch}; best matmul here, "
        f"GFLOPS: {peaks}{bandwidth}.",
        "",
        f"`{command}`",
        "",
        *table(_COLUMNS, map(_cells, rows)),
    ]
    return "\n".join(lines) + "\n"


_COLUMNS = (
    "network",
    "size",
    "engine",
    "ms",
    "fps",
    "times the reference",
    "PSNR to it",
    "of the best matmul",
    "of the bandwidth",
    "peak memory",
    "end to end",
)


def _cells(row: Row) -> list[str]:
    return [
        row.network,
        row.size,
        row.engine,
        f"{row.milliseconds:.1f}",
        f"{1e3 / row.milliseconds:.1f}",
        f"{row.times_reference:.2f}",
        number(row.psnr_db, ".0f", " dB"),
        f"{row.matmul_share:.0%}",
        number(row.bandwidth_share, ".0%"),
        number(row.peak_megabytes, ".0f", " MB"),
        f"{row.end_to_end_milliseconds:.0f} ms",
    ]


def write_report(folder: Path, machine: Machine, rows: list[Row], command: str) -> list[Path]:
    """Write `benchmark.md` and `benchmark.json` into a folder; return them."""
    content = {
        "command": command,
        "machine": dataclasses.asdict(machine),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    texts = {
        "benchmark.md": markdown(machine, rows, command),
        "benchmark.json": json.dumps(content, indent=2) + "\n",
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text)
    return [folder / name for name in texts]


def _as_file(name: str, folder: Path) -> Path:
    """Return the model's file; write one with random weights for the name of a network."""
    if name not in NETWORKS:
        return find_model(name)
    torch.manual_seed(0)
    network = NETWORKS[name]()
    path = folder / f"{name}.safetensors"
    save_model(path, network, describe(network, title=name))
    return path


def _picture(height: int, width: int) -> Tensor:
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as own:
        picture = read_image(own)
    longer = resize(picture, max(height, width))
    return longer[..., :height, :width].contiguous()


def _decode(jpeg: bytes) -> Tensor:
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2) / 255


def _encode(image: Tensor) -> bytes:
    pixels = image[0].mul(255).round().clamp(0, 255).byte().permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _end_to_end(run: Run, jpeg: bytes, device: torch.device) -> bytes:
    return _encode(run(_decode(jpeg).to(device)).cpu())


def _bytes_moved(network: TransformerNetwork, height: int, width: int) -> int:
    """Return the bytes that the convolutions read and write in half precision, all else fused."""
    moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += 2 * (inputs[0].numel() + output.numel())

    with torch.device("meta"):
        shapes = plain(NETWORKS[network_name(network)](**network.arguments))
        image = torch.empty(1, 3, height, width)
    for module in shapes.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    shapes(image)
    return moved


def _with_peak(run: Run, image: Tensor) -> tuple[Tensor, float | None]:
    """Return the result of a pass, and the MB that it took at the peak, where they are told."""
    if image.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(image.device)
        before = torch.cuda.memory_allocated(image.device)
        result = run(image)
        return result, (torch.cuda.max_memory_allocated(image.device) - before) / 1e6
    marks = Path("/proc/self/clear_refs")
    if not os.access(marks, os.W_OK):
        return run(image), None
    if (libc := ctypes.util.find_library("c")) is not None:
        ctypes.CDLL(libc).malloc_trim(0)  # or what earlier passes freed would be used unseen
    marks.write_text("5")  # the high-water mark begins anew
    before = _status_kilobytes("VmRSS")
    result = run(image)
    return result, (_status_kilobytes("VmHWM") - before) / 1e3


def _status_kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
