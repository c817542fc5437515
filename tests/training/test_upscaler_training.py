"""Training for super-resolution: crops, losses, runs that resume exactly, and their settings."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from PIL import Image
from torch.nn import functional as F

from fst.cli.overrides import sweep_name, swept_keys
from fst.cli.train_upscaler import expand
from fst.config import DataConfig, FolderDataConfig, PerceptualLossConfig, TrainUpscalerConfig
from fst.data.batches import open_data
from fst.data.full_size import FullSizeDataset
from fst.errors import UserError
from fst.losses.upscaling import UpscalingLoss, grid_term
from fst.losses.vgg import load_vgg16
from fst.models.model_file import open_model
from fst.models.model_ref import find_model
from fst.pictures.image import UnreadableImageError, read_image
from fst.training.registry import train
from fst.training.run import Run

Composing = Callable[..., TrainUpscalerConfig]


@pytest.fixture
def compose_tiny(photos: Path, random_vgg: Path, tmp_path: Path) -> Composing:
    """The configuration of a tiny run, with further overrides."""

    def compose_it(*more: str, layers: bool = True) -> TrainUpscalerConfig:
        given = [
            f"data.path={photos}", "data.crop_px=32", "data.heldout_images=2", "data.heldout_px=48",
            f"loss_network.weights={random_vgg}", "loss_network.verify=false",
            "network.width=8", *["network.layers=1"] * layers,
            "training.images=64", "training.batch_size=4",
            "training.report_every=16", "training.save_every=32", "training.device=cpu",
            f"runs_dir={tmp_path / 'runs'}", *more,
        ]  # fmt: skip
        overrides = [part for argument in given for part in expand(argument)]
        with initialize_config_module("fst.conf", version_base="1.3"):
            config = OmegaConf.to_object(compose("train-upscaler", overrides))
        assert isinstance(config, TrainUpscalerConfig)
        return config

    return compose_it


def full_size(folder: Path, crop_px: int) -> FullSizeDataset:
    config: DataConfig = FolderDataConfig(
        path=str(folder), crop_px=crop_px, margin_px=0, heldout_images=0
    )
    return FullSizeDataset(open_data(config, 0).train)


def test_crops_are_parts_of_the_picture_at_its_size_turned_and_mirrored(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = torch.from_numpy(pixels).permute(2, 0, 1).float()
    dataset = full_size(tmp_path, 32)
    turns = set()
    for position in range(40):
        crop, skipped = dataset[position]
        assert not skipped
        for turn in range(8):
            upright = crop.flip(2) if turn >= 4 else crop
            upright = upright.rot90(-(turn % 4), (1, 2)).float()
            windows = F.unfold(picture[None], 32)
            if (windows == upright.reshape(-1)[None, :, None]).all(1).any():
                turns.add(turn)
    assert turns == set(range(8))


def test_jpeg_photographs_are_halved_first(tmp_path: Path):
    Image.new("RGB", (64, 80), "teal").save(tmp_path / "a.jpg")
    dataset = full_size(tmp_path, 32)
    assert dataset.picture(0).shape == (3, 40, 32)
    assert dataset.picture(0) is dataset.picture(0)  # decoded once
    dataset = full_size(tmp_path, 48)
    with pytest.raises(UnreadableImageError, match="smaller than data.crop_px=48: 32x40 pixels"):
        dataset.picture(0)


def test_terms_of_the_loss(random_vgg: Path):
    network = load_vgg16(random_vgg, "relu2_2", verify=False)
    config = PerceptualLossConfig(
        pixel_weight=2.0, feature_weight=3.0, grid_weight=4.0, tv_weight=0.5
    )
    loss = UpscalingLoss(config, 4, network)
    original = torch.rand(2, 3, 32, 32)
    same = loss(original, original)
    assert same["pixel"].tolist() == same["feature"].tolist() == [0, 0]
    terms = loss(original + 0.1, original)
    torch.testing.assert_close(terms["pixel"], torch.full((2,), 0.1))
    expected = 2 * terms["pixel"] + 3 * terms["feature"] + 4 * terms["grid"]
    expected = expected + 0.5 * terms["total_variation"]
    torch.testing.assert_close(terms["total"], expected)
    # Relative to the features themselves, so that 0 in the place of a picture's is 1.
    network.forward = lambda image, layers: {layers[0]: image - original[:1] * (image.sum() == 0)}
    assert loss(original * 0, original)["feature"][0] == pytest.approx(4.0)


def test_the_grid_term_sees_what_repeats_with_the_blocks_and_not_other_detail():
    pattern = torch.randn(1, 3, 4, 4)
    regular = pattern.repeat(1, 1, 12, 12)
    torch.testing.assert_close(grid_term(regular, 4), pattern.abs().mean()[None])
    detail = torch.randn(1, 3, 48, 48)  # a mean of 25 blocks is a fifth of one
    assert grid_term(detail, 4).item() == pytest.approx(detail.abs().mean().item() / 5, rel=0.1)
    other = pattern.repeat(1, 1, 12, 12).roll(1, 2)  # the same, whatever its phase
    torch.testing.assert_close(grid_term(other, 4), grid_term(regular, 4))


def test_a_stopped_run_resumes_exactly(compose_tiny: Composing, tmp_path: Path, monkeypatch):
    whole = compose_tiny("name=whole", "loss=perceptual")
    assert train(whole) == 0
    stopped = compose_tiny("name=stopped", "loss=perceptual")
    step = Run.step
    steps = []

    def step_and_fail(self, images):
        if len(steps) == 11:
            raise KeyboardInterrupt
        steps.append(step(self, images))

    monkeypatch.setattr(Run, "step", step_and_fail)
    with pytest.raises(KeyboardInterrupt):
        train(stopped)
    monkeypatch.undo()
    assert train(stopped) == 0
    one, other = (
        open_model(find_model(tmp_path / "runs" / name)).network for name in ("whole", "stopped")
    )
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_training_makes_held_out_pictures_better(compose_tiny: Composing, tmp_path: Path):
    assert train(compose_tiny("name=a", "training.images=400")) == 0
    info = open_model(find_model(tmp_path / "runs" / "a")).info
    first = (tmp_path / "runs" / "a" / "metrics.jsonl").read_text().splitlines()
    assert info.losses["psnr"] > 0
    reports = [json.loads(line) for line in first]
    judged = [report["heldout/psnr"] for report in reports if "heldout/psnr" in report]
    assert judged[-1] > judged[0]
    assert info.losses["psnr"] == judged[-1]
    sheet = read_image(tmp_path / "runs" / "a" / "contact_sheet.jpg")
    assert sheet.shape[-1] > 3 * 48


def test_a_start_from_a_model_has_its_architecture(compose_tiny: Composing, tmp_path: Path):
    assert train(compose_tiny("name=a", "training.images=8")) == 0
    assert train(compose_tiny("name=b", "training.images=8", f"init={tmp_path}/runs/a")) == 0
    with pytest.raises(UserError, match=r"init=.* is .*network.width=8.*, and .*network.width=16"):
        train(compose_tiny("name=c", f"init={tmp_path}/runs/a", "network.width=16"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.factor=9", r"network.factor=9 must be an integer in \[2, 8\]"),
        ("network.factor=5", "data.crop_px=32 must be a multiple of network.factor=5"),
        ("data.margin_px=4", "data.margin_px=4 is for styles"),
        ("loss.pixel=cubed", "loss.pixel=cubed"),
        ("network.degradation=none", "network.degradation=none"),
    ],
)
def test_impossible_settings_are_refused(compose_tiny: Composing, override: str, message: str):
    with pytest.raises(Exception, match=message):
        compose_tiny(override)


def test_sweeps_over_groups_have_a_folder_each():
    given = [
        part for o in ("network=fast,johnson", "loss=pixel", "data.path=a") for part in expand(o)
    ]
    task = ["upscaling/network@network=johnson", "upscaling/loss@loss=pixel", "data.path=a"]
    assert swept_keys(given) == {"network"}
    assert sweep_name("x4_pixel", given, task) == "x4_pixel/network=johnson"


def test_the_paper_s_network_trains_by_the_paper_s_degradation(
    compose_tiny: Composing, tmp_path: Path
):
    given = ("network=johnson", "network.residual_blocks=1", "loss.pixel=squared")
    config = compose_tiny(*given, "training.images=8", "name=paper", layers=False)
    assert train(config) == 0
    info = open_model(find_model(tmp_path / "runs" / "paper")).info
    assert info.network_arguments["degradation"] == "johnson"


def test_settings_of_styles_are_refused():
    with pytest.raises(UserError, match="fst train-upscaler has no style"):
        expand("style=a.jpg")
