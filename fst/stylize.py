"""Stylizing with a trained network: tensors, and picture files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fst.image import read_image, write_image
from fst.model_file import ModelInfo, find_model, load_model
from fst.network import TransformerNetwork


class Stylizer:
    """A trained network, ready to use: call it on pictures."""

    def __init__(self, network: TransformerNetwork, info: ModelInfo, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.info = info
        self.device = device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Stylize (N, 3, H, W) float in [0, 1]; the result has the same shape, range and device.

        Raises:
            ValueError: `images` is of another shape or type.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"expected a float tensor (N, 3, H, W) in [0, 1], not {images.dtype} of shape "
                f"{tuple(images.shape)}"
            )
        parameter = next(self.network.parameters())
        stylized: Tensor = self.network(images.to(self.device, parameter.dtype))
        return stylized.to(images)


def load(name_or_path: str | Path, device: str = "auto") -> Stylizer:
    """Return the `Stylizer` of a model file, a run folder or a released model's name.

    Args:
        name_or_path: what `fst.model_file.find_model` takes.
        device: `cuda`, `cpu` ...; `auto` takes CUDA where there is one.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: the file is damaged or no model.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Stylizer(*load_model(find_model(name_or_path)), torch.device(device))


def stylize_files(
    model: str | Path, pictures: Sequence[Path], output: Path, device: str = "auto"
) -> Iterator[tuple[Path, Path]]:
    """Stylize picture files one by one; yield each with the file it became.

    Args:
        model: what `load` takes.
        pictures: the files to stylize.
        output: a file if there is one picture and this names one (`.jpg`, `.png` ...), else a
            folder, in which each result takes its picture's name.
        device: what `load` takes.

    Raises:
        FileNotFoundError: the model or a picture does not exist.
        ValueError: a file can't be read, or two results would have one name.
    """
    to_folder = len(pictures) > 1 or output.is_dir() or not output.suffix
    results = [output / picture.name for picture in pictures] if to_folder else [output]
    twice = {result.name for result in results if results.count(result) > 1}
    if twice:
        raise ValueError(f"several pictures would become {', '.join(sorted(twice))} in {output}")
    stylizer = load(model, device)
    for picture, result in zip(pictures, results, strict=True):
        write_image(stylizer(read_image(picture)), result)
        yield picture, result
