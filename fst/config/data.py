"""The content photographs' settings."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from fst.config.checks import LARGEST_PX, at_least, existing
from fst.errors import UserError


@dataclass
class DataConfig:
    """Content photographs, and how a training crop is cut from one."""

    kind: str = MISSING
    """Set by `data=KIND`."""
    path: str = MISSING
    """The folder, file, pattern or data set."""
    crop_px: int = 256
    """Side of the square training crops."""
    margin_px: int = 16
    """Pixels around a crop that the network sees but the loss does not: the loss network's features
    are wrong at a border, and the network would learn to compensate for that."""
    min_crop_scale: float = 0.5
    """Smallest side of a crop before resizing, as a share of the picture's shorter side."""
    workers: int = 2
    """Processes that decode pictures; 0 decodes in the main process."""
    resident: bool = False
    """Decode all pictures once, keep them in the device's memory and cut the crops there: for a GPU
    that trains faster than the CPU decodes, on pictures that `fst prepare` made small enough."""
    heldout_path: str | None = None
    """A folder of held-out pictures; null holds out some of the training pictures."""
    heldout_images: int = 8
    """Number of held-out pictures."""
    heldout_px: int = 256
    """Side of the held-out pictures, which are cropped to a central square."""

    def __post_init__(self) -> None:
        at_least("data.crop_px", self.crop_px, 16, LARGEST_PX)
        at_least("data.margin_px", self.margin_px, 0, 1024)
        at_least("data.workers", self.workers, 0, 1024)
        at_least("data.heldout_images", self.heldout_images, 0, 10_000)
        at_least("data.heldout_px", self.heldout_px, 32, LARGEST_PX)
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"data.min_crop_scale={self.min_crop_scale} must be in (0, 1]")
        if self.heldout_path is not None:
            existing("data.heldout_path", self.heldout_path)


@dataclass
class FolderDataConfig(DataConfig):
    """A folder of pictures at any depth."""

    kind: str = "folder"

    def __post_init__(self) -> None:
        super().__post_init__()
        existing("data.path", self.path)
        if not Path(self.path).is_dir():
            raise UserError(
                f"data.path={self.path} is not a folder: name a folder, or use data=parquet"
            )


@dataclass
class ParquetDataConfig(DataConfig):
    """Local parquet files that hold the pictures: a file, a folder or a glob."""

    kind: str = "parquet"
    image_column: str = "image"
    """Column that holds the encoded pictures."""


@dataclass
class CocoDataConfig(DataConfig):
    """COCO from the Hugging Face Hub, or any dataset repository of parquet files there."""

    kind: str = "coco"
    path: str = "detection-datasets/coco"
    files: str = "data/train-*"
    """Which of the repository's files; data/train-0000[0-3]* takes a tenth of COCO (2 GB)."""
    image_column: str = "image"
    """Column that holds the encoded pictures."""
