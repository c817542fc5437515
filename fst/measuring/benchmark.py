"""The speed of each engine on this machine, against a plain eager pass and the machine's limits.

The engines' rounds are interleaved, so that other load on the machine affects all of them, and
medians are compared.
"""

import dataclasses
import io
import json
import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from fst.atomic import write_texts
from fst.device import pick_device
from fst.errors import UserError, one_line
from fst.measuring.engines import ENGINES, REFERENCE, Case, Runner
from fst.measuring.machine import Machine, measure_machine, seconds_of, with_peak_memory
from fst.models.export import Agreement
from fst.models.model_file import describe, open_model, read_model, save_model
from fst.models.model_ref import find_model
from fst.networks.cost import count_flops
from fst.networks.plain import plain
from fst.networks.registry import NETWORKS, build_network
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import read_image, resize
from fst.report import number, table

SIZES = {
    "256": (256, 256),
    "512": (512, 512),
    "480p": (480, 640),
    "720p": (720, 1280),
    "1080p": (1080, 1920),
    "4k": (2160, 3840),
}
"""Heights and widths by name."""


@dataclass
class BenchmarkRow:
    """One engine with one network at one size."""

    network: str
    size: str
    engine: str
    milliseconds: float
    """Per picture, network only: median."""
    end_to_end_milliseconds: float
    """From JPEG bytes to JPEG bytes: median."""
    times_reference: float
    """How many times as fast as the reference."""
    psnr_db: float | None
    """Against the reference's picture; None for the reference."""
    matmul_share: float
    """Multiply-adds of the network as written, relative to the machine's best matmul."""
    bandwidth_share: float | None
    """Bytes that its convolutions must read and write, relative to the GPU's best copy."""
    peak_megabytes: float | None
    """Peak memory of a pass, in addition to what was allocated before."""


@dataclass
class Benchmark:
    """The result of `benchmark`."""

    machine: Machine
    rows: list[BenchmarkRow]
    unavailable: dict[str, str]
    """Engines that could not be prepared, with the reasons."""


def benchmark(
    networks: list[str],
    sizes: list[str],
    engines: list[str],
    device: str = "auto",
    rounds: int = 9,
    progress: Callable[[str], None] = lambda line: None,
) -> Benchmark:
    """Measure engines x networks x sizes; engines that are not installed are left out.

    Args:
        networks: names of networks (with random weights) or models, as `find_model` takes them.
        sizes: names in `SIZES`.
        engines: names in `ENGINES`; the reference is always measured.
        device: `cuda`, `cpu` ...; see `pick_device`.
        rounds: timing rounds, interleaved; the median is reported.
        progress: called with each step.

    Raises:
        UserError: an unknown size or engine.
        FileNotFoundError: a model does not exist.
    """
    for given, known, what in ((sizes, SIZES, "size"), (engines, ENGINES, "engine")):
        if unknown := [name for name in given if name not in known]:
            raise UserError(f"unknown {what} {unknown[0]!r}; choose from {', '.join(known)}")
    if rounds < 1:
        raise UserError(f"rounds={rounds} must be at least 1")
    chosen_device = pick_device(device)
    progress("measuring the machine")
    machine = measure_machine(chosen_device)
    found = Benchmark(machine, [], {})
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            model = _as_file(name, Path(folder))
            for size in sizes:
                read = read_model(model)
                network, info = read.stylizer, read.info
                here = Path(folder) / f"{len(found.rows)}"
                case = Case(network, model, SIZES[size], chosen_device, here)
                names = [
                    e for e in dict.fromkeys([REFERENCE, *engines]) if e not in found.unavailable
                ]
                label = name if name in NETWORKS else f"{info.title or name} ({info.network})"
                measure_case(case, label, size, names, rounds, found, progress)
    return found


@torch.no_grad()
def measure_case(
    case: Case,
    label: str,
    size: str,
    engines: list[str],
    rounds: int,
    found: Benchmark,
    progress: Callable[[str], None],
) -> None:
    """Time the engines on one network and size, interleaved, and add a row for each to `found`."""
    image = _picture(*case.size).to(case.device)
    runs: dict[str, Runner] = {}
    results: dict[str, Tensor] = {}
    memory: dict[str, float | None] = {}
    for engine in engines:
        progress(f"{label} {size}: preparing {engine}")
        try:
            runs[engine] = ENGINES[engine](case)
        except (ImportError, UserError) as error:
            found.unavailable[engine] = one_line(error)
            progress(f"{engine} is not available: {found.unavailable[engine]}")
            continue
        runs[engine](image)  # compiles, allocates
        result, memory[engine] = with_peak_memory(runs[engine], image)
        results[engine] = result.cpu()
    seconds: dict[str, list[float]] = {engine: [] for engine in runs}
    whole: dict[str, list[float]] = {engine: [] for engine in runs}
    jpeg = _encode(image.cpu())
    for done in range(rounds):
        progress(f"{label} {size}: round {done + 1} of {rounds}")
        for engine in runs:
            seconds[engine].append(seconds_of(case.device, runs[engine], image))
            whole[engine].append(
                seconds_of(case.device, _end_to_end, runs[engine], jpeg, case.device)
            )
    flops = count_flops(case.network, *case.size)
    best = statistics.median(seconds[REFERENCE])
    for engine in runs:
        median = statistics.median(seconds[engine])
        moved = _bytes_moved(case.network, *case.size) / median / 1e9
        copied = found.machine.copy_gigabytes_per_second
        found.rows.append(
            BenchmarkRow(
                label,
                size,
                engine,
                median * 1e3,
                statistics.median(whole[engine]) * 1e3,
                best / median,
                None
                if engine == REFERENCE
                else Agreement.of(results[engine], results[REFERENCE]).psnr_db,
                found.machine.matmul_share(flops, median),
                moved / copied if copied else None,
                memory[engine],
            )
        )


def markdown(found: Benchmark, command: str) -> str:
    """Return the measurements as a Markdown page."""
    lines = [
        f"{found.machine.summary}.",
        "",
        f"`{command}`",
        "",
        *table(_COLUMNS, map(_cells, found.rows)),
    ]
    for engine, reason in found.unavailable.items():
        lines += ["", f"Not measured: {engine} ({reason})."]
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


def _cells(row: BenchmarkRow) -> list[str]:
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


def write_report(folder: Path, found: Benchmark, command: str) -> list[Path]:
    """Write `benchmark.md` and `benchmark.json` into a folder; return them."""
    content = {
        "command": command,
        **dataclasses.asdict(found),
    }
    return write_texts(
        folder,
        {
            "benchmark.md": markdown(found, command),
            "benchmark.json": json.dumps(content, indent=2) + "\n",
        },
    )


def _as_file(name: str, folder: Path) -> Path:
    """Return the model's file; a style of several, or a network's random weights, is written."""
    if name in NETWORKS:
        torch.manual_seed(0)
        network = build_network(name, {})
        info = describe(network, title=name)
    else:
        ref = find_model(name)
        if not ref.choice:
            return ref.path
        model = open_model(ref)
        network, info = model.stylizer, model.info
    path = folder / f"{re.sub('[^A-Za-z0-9]', '_', name)}.safetensors"
    save_model(path, network, info)
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


def _end_to_end(run: Runner, jpeg: bytes, device: torch.device) -> bytes:
    return _encode(run(_decode(jpeg).to(device)).cpu())


def _bytes_moved(network: TransformerNetwork, height: int, width: int) -> int:
    """Return the bytes that the convolutions read and write in half precision, rest fused."""
    moved = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += 2 * (inputs[0].numel() + output.numel())

    shapes = plain(network).to("meta", torch.float32)
    image = torch.empty(1, 3, height, width, device="meta")
    for module in shapes.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    shapes(image)
    return moved
