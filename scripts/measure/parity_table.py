"""Every exported format in every runtime, at eight shapes, against the network in eager fp32.

python scripts/measure/parity_table.py MODEL PHOTOGRAPH > parity.md
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import openvino
import torch
from torch import Tensor

import fst
from fst.models.export import Agreement, export_model
from fst.models.export_options import ExportOptions
from fst.models.model_ref import find_model
from fst.pictures.image import resize

SHAPES = [
    (1, 1, 1), (1, 5, 31), (1, 65, 67), (1, 240, 320), (1, 481, 639), (1, 512, 512),
    (3, 128, 96), (2, 333, 200),
]  # fmt: skip
"""Number of pictures, height and width."""
Run = Callable[[Tensor], Tensor]


def onnxruntime_or_package(path: Path) -> Run:
    """Open with fst: onnxruntime, or an AOTInductor package."""
    return fst.load(path, device="cpu")


def openvino_fp32(path: Path) -> Run:
    """Open in OpenVINO, with fp32 requested: it may choose bf16 otherwise."""
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    return with_bytes(path, lambda given: np.array(request.infer({0: given})[0]))


def opencv(path: Path) -> Run:
    """Open in OpenCV's dnn."""
    network = cv2.dnn.readNetFromONNX(str(path))

    def run(given: np.ndarray) -> np.ndarray:
        network.setInput(given)
        return network.forward()

    return with_bytes(path, run)


def with_bytes(path: Path, run: Callable[[np.ndarray], np.ndarray]) -> Run:
    """Wrap a runtime of arrays to take (N, 3, H, W) in [0, 1], also if the model takes bytes."""
    if "uint8" not in path.stem:
        return lambda image: torch.from_numpy(run(image.numpy()))

    def on_bytes(image: Tensor) -> Tensor:
        pixels = (image * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(run(pixels)).permute(0, 3, 1, 2) / 255

    return on_bytes


RUNTIMES = (onnxruntime_or_package, openvino_fp32, opencv)
FORMATS: dict[str, tuple[ExportOptions, Sequence[Callable[[Path], Run]]]] = {
    "fp32.onnx": (ExportOptions(device="cpu"), RUNTIMES),
    "half.onnx": (ExportOptions(half=True, device="cpu"), RUNTIMES),
    "uint8.onnx": (ExportOptions(uint8=True, device="cpu"), RUNTIMES),
    "fp32.pt2": (ExportOptions(device="cpu"), (onnxruntime_or_package,)),
}


@torch.no_grad()
def main(model: str, photograph: str) -> None:
    """Print the table."""
    network = fst.load(model, device="cpu", dtype="fp32")
    picture = fst.read_image(photograph)
    heads = [f"{n}x{h}x{w}" for n, h, w in SHAPES]
    print("| format | runtime |", " | ".join(heads), "|")
    print("|---|---|" + "---|" * len(heads))
    with tempfile.TemporaryDirectory() as folder:
        for name, (options, runtimes) in FORMATS.items():
            path = Path(folder) / name
            export_model(find_model(model), path, options, photograph=Path(photograph))
            for runtime in runtimes:
                run = runtime(path)
                cells = []
                for pictures, height, width in SHAPES:
                    image = resize(picture, max(height, width, 8))[..., :height, :width]
                    image = (image * 255).round() / 255
                    batch = torch.cat([image.roll(17 * k, 3) for k in range(pictures)])
                    found = Agreement.of(run(batch), network(batch))
                    cells.append(f"{found.largest:.0e}, {found.psnr_db:.0f} dB")
                label = "AOTInductor" if path.suffix == ".pt2" else runtime.__name__.split("_")[0]
                print(f"| {name} | {label} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
