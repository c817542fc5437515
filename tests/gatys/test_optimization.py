"""Gatys' method: its convergence, that the best picture is kept, and its files."""

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

import fst
from fst.cli.optimize import expand
from fst.config import FastConfig, GatysLossConfig, OptimizeConfig, RelativeLossConfig
from fst.errors import TrainingStoppedError
from fst.gatys import optimization
from fst.gatys.optimization import descend, needed_bytes, optimize
from fst.losses.objective import towards
from fst.losses.papers import GatysLoss
from fst.losses.relative import RelativeLoss
from fst.losses.statistics import gram_matrix
from fst.losses.vgg import load_vgg16
from fst.pictures.image import read_image, resize, write_image

LAYERS = ["relu1_1", "relu2_1", "relu3_1"]


class Objective:
    """A loss given as an analytic function of the picture."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        return {}

    def against(self, targets: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
        return {"total": self.function(image).view(1)}


def reports_of(config: OptimizeConfig) -> list[dict[str, float]]:
    lines = (config.run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def steps(function: Callable[[Tensor], Tensor], start: Tensor, count: int, **how):
    taken = itertools.islice(descend(Objective(function), start, start, **how), count + 1)  # type: ignore[arg-type]
    return [(image.clone(), terms["total"]) for image, terms in taken]


@pytest.fixture
def overrides(photos: Path, style_picture: Path, random_vgg: Path, tmp_path: Path) -> list[str]:
    """Overrides of `fst optimize` for a picture that takes a second."""
    return [
        f"content={photos / '00.png'}",
        f"style={style_picture}",
        f"loss_network.weights={random_vgg}",
        "loss_network.verify=false",
        "size_px=64",
        "coarsest_px=32",
        "iterations=6",
        "tolerance=0",
        "report_every=3",
        "device=cpu",
        "name=run",
        f"runs_dir={tmp_path / 'runs'}",
    ]


@pytest.fixture
def compose_optimize() -> Callable[[list[str]], OptimizeConfig]:
    def compose(overrides: list[str]) -> OptimizeConfig:
        with initialize_config_module("fst.conf", version_base="1.3"):
            expanded = [part for override in overrides for part in expand(override)]
            config = OmegaConf.to_object(hydra_compose("optimize", expanded))
        assert isinstance(config, OptimizeConfig)
        return config

    return compose


@pytest.mark.parametrize(("method", "count"), [("lbfgs", 100), ("adam", 300)])
def test_the_minimum_of_a_quadratic_inside_the_range_of_pictures_is_found(method: str, count: int):
    # Separable, so that the constrained minimum is the free one clipped to [0, 1].
    wanted = torch.linspace(-0.5, 1.5, 3 * 8 * 8).view(1, 3, 8, 8)
    weight = torch.linspace(1, 30, wanted.numel()).view_as(wanted)

    def bowl(image: Tensor) -> Tensor:
        return (weight * (image - wanted).square()).sum()

    found = steps(bowl, torch.full_like(wanted, 0.5), count, optimizer=method)
    image, total = min(found, key=lambda step: step[1])
    torch.testing.assert_close(image, wanted.clamp(0, 1), atol=0.03, rtol=0)
    assert total == pytest.approx(bowl(wanted.clamp(0, 1)).item(), rel=1e-3)


def test_the_first_picture_is_the_start_and_each_stays_in_range():
    start = torch.rand(1, 3, 8, 8)
    taken = steps(lambda image: (image - 3).square().sum(), start, 5)
    assert torch.equal(taken[0][0], start)
    assert taken[0][1] == pytest.approx((start - 3).square().sum().item())
    assert all(image.min() >= 0 and image.max() <= 1 for image, _ in taken)


def test_a_step_that_makes_it_much_worse_is_undone():
    # A narrow valley in a wall of infinite slope: curvature pairs from without mislead within.
    def valley(image: Tensor) -> Tensor:
        return (image - 0.5).abs().sqrt().sum() + 1e-3

    totals = [total for _, total in steps(valley, torch.rand(1, 3, 8, 8), 60)]
    lowest = list(itertools.accumulate(totals, min))
    assert all(total <= 2 * low for total, low in zip(totals, lowest, strict=True))
    assert lowest[-1] < 0.5 * totals[0]


def test_an_objective_that_is_not_finite_stops_it():
    with pytest.raises(TrainingStoppedError, match="not finite"):
        steps(lambda image: image.sum() * float("nan"), torch.rand(1, 3, 8, 8), 3)


def test_an_objective_of_zero_ends(compose_optimize, overrides):
    evaluations = 0

    def zero(image: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        assert evaluations < 20, "no picture is yielded any more"
        return (image * 0).sum()

    totals = [total for _, total in steps(zero, torch.rand(1, 3, 8, 8), 5)]
    assert totals == [0.0] * 6
    weightless = ["loss.style_weight=0", "loss.tv_weight=0", "loss.content_target=null"]
    config = compose_optimize([*overrides, *weightless, "coarsest_px=64"])
    assert optimize(config) == 0
    assert [report["iteration"] for report in reports_of(config)] == [0]


def test_content_alone_is_restored_from_noise(random_vgg: Path, photos: Path):
    vgg = load_vgg16(random_vgg, "relu1_2", verify=False)
    content = resize(read_image(photos / "more" / "01.png"), 32)
    config = RelativeLossConfig(
        content_layer="relu1_2", style_layers=["relu1_1"], style_weight=0, tv_weight=0
    )
    loss = towards(RelativeLoss(vgg, config), content)
    noise = torch.rand_like(content)
    image, terms = next(itertools.islice(descend(loss, content, noise), 150, None))
    assert terms["total"] < 1e-3
    assert (image - content).square().mean() < 0.05 * (noise - content).square().mean()


def test_gatys_terms_are_those_of_the_paper(random_vgg: Path):
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    y, x, s = (torch.rand(1, 3, 32, 24) for _ in range(3))
    config = GatysLossConfig(content_layer="relu2_2", style_layers=LAYERS, style_weight=100)
    terms = {
        name: value.squeeze() for name, value in towards(GatysLoss(vgg, config), s)(y, x).items()
    }
    fy, fx, fs = (vgg(image, [*LAYERS, "relu2_2"]) for image in (y, x, s))
    content = (fy["relu2_2"] - fx["relu2_2"]).square().sum() / 2  # eq. 1
    style = torch.zeros(())
    for layer in LAYERS:
        flat_y, flat_s = fy[layer][0].flatten(1), fs[layer][0].flatten(1)
        n, m = flat_y.shape
        energy = (flat_y @ flat_y.T - flat_s @ flat_s.T).square().sum() / (4 * n**2 * m**2)  # eq. 4
        style += energy / len(LAYERS)  # eq. 5
    torch.testing.assert_close(terms["content"], content)
    torch.testing.assert_close(terms["style"], style)
    torch.testing.assert_close(terms["total"], content + 100 * style)  # eq. 7


def test_several_styles_pull_as_their_mean_does(random_vgg: Path):
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    content, first, second = (torch.rand(1, 3, 32, 32) for _ in range(3))
    config = GatysLossConfig(content_layer="relu2_2", style_layers=LAYERS)

    def gradient(style) -> Tensor:
        image = content.clone().requires_grad_()
        terms = towards(GatysLoss(vgg, config), style)(image, content)
        (found,) = torch.autograd.grad(terms["style"], image)
        return found

    both = gradient([(first, 3.0), (second, 1.0)])
    mean = 0.75 * gradient(first) + 0.25 * gradient(second)
    assert (both - mean).norm() < 1e-4 * mean.norm()
    torch.testing.assert_close(gradient([(first, 2.0), (second, 0.0)]), gradient(first))
    loss = towards(GatysLoss(vgg, config), [(first, 1.0), (second, 1.0)])
    grams = [gram_matrix(vgg(style, LAYERS)["relu2_1"]) for style in (first, second)]
    torch.testing.assert_close(loss.get_buffer("target_0_relu2_1"), (grams[0] + grams[1]) / 2)


def test_what_was_measured_before_gives_the_same_terms(random_vgg: Path):
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    y, x, s = (torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.rand(1, 3, 40, 40))
    loss = towards(RelativeLoss(vgg, RelativeLossConfig()), s)
    again = loss.against(loss.content_targets(x), y)
    assert {k: v.tolist() for k, v in loss(y, x).items()} == {
        k: v.tolist() for k, v in again.items()
    }


def test_it_proceeds_from_coarse_to_fine_and_leaves_the_documented_files(
    compose_optimize, overrides: list[str], photos: Path
):
    config = compose_optimize(overrides)
    assert config.sizes_px == [32, 64]
    assert optimize(config) == 0
    names = {file.name for file in config.run_dir.glob("[!.]*") if "tfevents" not in file.name}
    assert names == {"config.yaml", "metrics.jsonl", "stylized.png", "contact_sheet.jpg"}
    result = read_image(config.run_dir / "stylized.png")
    assert result.shape == resize(read_image(photos / "00.png"), 64).shape
    reports = reports_of(config)
    assert [(r["size_px"], r["iteration"]) for r in reports] == [
        *((32, 0), (32, 3), (32, 6)),
        *((64, 7), (64, 10), (64, 13)),
    ]
    for size in (32, 64):
        totals = [r["total"] for r in reports if r["size_px"] == size]
        assert totals[-1] < totals[0]
    events = EventAccumulator(str(config.run_dir), {"images": 0, "scalars": 0})
    events.Reload()
    assert len(events.Scalars("loss/total")) == 14
    assert len(events.Images("stylized")) == 6


def test_the_size_before_is_what_the_next_one_starts_from(compose_optimize, overrides, monkeypatch):
    starts: list[Tensor] = []
    descending = descend

    def spy(loss, content, start, *rest):
        starts.append(start)
        return descending(loss, content, start, *rest)

    monkeypatch.setattr(optimization, "descend", spy)
    config = compose_optimize(overrides)
    optimize(config)
    assert [min(start.shape[-2:]) for start in starts] == [32, 64]
    content = resize(read_image(config.content), 64)
    assert (starts[1] - content).abs().mean() > 0.02  # not the photograph again


@pytest.mark.parametrize("init", ["noise", "picture", "model"])
def test_every_kind_of_start(init: str, compose_optimize, overrides, photos, tmp_path: Path):
    from fst.models.model_file import describe, save_model
    from fst.networks.fast import Fast

    content = resize(read_image(photos / "00.png"), 64)
    start = torch.rand(content.shape, generator=torch.Generator().manual_seed(7))
    given = "noise"
    if init == "picture":
        start = read_image(photos / "03.png").flip(3)
        given = str(tmp_path / "start.png")
        write_image(start, given)
    if init == "model":
        network = Fast(FastConfig(width=8, residual_blocks=1))
        given = str(tmp_path / "model.safetensors")
        save_model(given, network, describe(network))
        start = fst.load(given, dtype="fp32")(content)
    changes = [f"init={given}", "seed=7"]
    config = compose_optimize([o for o in overrides if "coarsest" not in o] + changes)
    assert config.sizes_px == [64]
    found = optimization.starting_picture(config, content)
    wanted = optimization.stretch(start, content)
    torch.testing.assert_close(found, wanted, atol=1 / 255, rtol=0)


def test_a_start_with_another_aspect_ratio_is_refused(
    compose_optimize, overrides, style_picture: Path
):
    config = compose_optimize([*overrides, f"init={style_picture}"])
    with pytest.raises(ValueError, match=r"has the aspect ratio 1.00, but the content 1.25"):
        optimize(config)
    assert not config.run_dir.exists()


def test_a_result_is_only_replaced_on_request(compose_optimize, overrides, tmp_path: Path):
    optimize(compose_optimize(overrides))
    with pytest.raises(ValueError, match="use overwrite=true to replace it"):
        optimize(compose_optimize(overrides))
    again = compose_optimize([*overrides, "overwrite=true", "iterations=1"])
    assert optimize(again) == 0
    assert len(reports_of(again)) == 4
    (again.run_dir / "model.safetensors").touch()
    with pytest.raises(ValueError, match="holds a training run"):
        optimize(again)


def test_a_folder_is_one_style_of_its_pictures(
    compose_optimize, overrides, photos: Path, style_picture: Path, tmp_path: Path, capsys
):
    folder = tmp_path / "works"
    folder.mkdir()
    for picture in (photos / "00.png", photos / "03.png"):
        shutil.copy(picture, folder)
    (folder / "list.txt").write_text("not a picture")
    few = [overrides[0], *overrides[2:-2], "iterations=2", f"runs_dir={tmp_path / 'runs'}"]
    together = compose_optimize([*few, f"style=[{folder},{style_picture}]", "name=a"])
    apart = f"style=[{photos / '00.png'},{photos / '03.png'},{style_picture}]"
    weighted = compose_optimize([*few, apart, "style_shares=[0.5,0.5,1]", "name=b"])
    assert optimize(together, console=True) == optimize(weighted) == 0
    assert "1 file skipped: list.txt" in capsys.readouterr().out
    one, other = (fst.read_image(c.run_dir / "stylized.png") for c in (together, weighted))
    torch.testing.assert_close(one, other, atol=1 / 255, rtol=0)


def test_it_stops_at_the_tolerance(compose_optimize, overrides):
    eager = compose_optimize([*overrides, "tolerance=10", "iterations=40"])
    optimize(eager)  # any ten iterations are too few for that
    assert [r["iteration"] for r in reports_of(eager) if r["size_px"] == 32][-1] == 10


def test_a_stopped_optimisation_writes_its_picture(
    overrides: list[str], fst_here, tmp_path: Path, monkeypatch
):
    def stop_at_30(*arguments: object) -> Iterator[tuple[Tensor, dict[str, float]]]:
        for iteration, found in enumerate(descend(*arguments)):
            if iteration == 30:
                os.kill(os.getpid(), signal.SIGTERM)
            yield found

    monkeypatch.setattr(optimization, "descend", stop_at_30)
    done = fst_here("optimize", *overrides, "iterations=100000")
    assert done.returncode == 128 + signal.SIGTERM
    result = tmp_path / "runs" / "run" / "stylized.png"
    assert f"init={result} resumes from there" in done.stdout
    assert min(read_image(result).shape[-2:]) == 32


def test_too_little_memory_is_reported_before_anything_is_written(
    compose_optimize, overrides, monkeypatch
):
    config = compose_optimize(overrides)
    monkeypatch.setattr(optimization, "available_bytes", lambda device: 1e6)
    with pytest.raises(ValueError, match=r"size_px=64 \(80x64\) needs about .* use a smaller size"):
        optimize(config)
    assert not config.run_dir.exists()


def test_the_memory_estimate_counts_all_features(compose_optimize, overrides, random_vgg):
    # All features of VGG16 up to relu3_3 in fp32 are 2 x 64 + 2 x 128 / 4 + 3 x 256 / 16 values
    # a pixel, a pyramid of three levels has 1 + 1/4 + 1/16 as many pixels.
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    needed = needed_bytes(vgg, compose_optimize(overrides), 1000)
    assert needed == pytest.approx(2 * 4 * 240 * 1.3125 * 1000)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("style_shares=[1,2]", "one number of at least 0 for each of"),
        ("loss.temporal_weight=1", "fst optimize trains none"),
        ("size_px=8", "size_px=8 must be at least 32"),
        ("coarsest_px=100", "coarsest_px=100 must be in [32, size_px=64]"),
        ("method=newton", "method=newton is unknown; choose one of lbfgs, adam"),
        ("iterations=0", "iterations=0 must be at least 1"),
        ("content=missing.jpg", "content=missing.jpg does not exist"),
        ("style=[missing.jpg]", "style=missing.jpg does not exist"),
        ("itertions=5", "itertions is unknown: did you mean iterations?"),
        ("loss=gatys", "has no features.17"),
        ("output=out.xyz", "unknown suffix '.xyz'"),
        ("init=nowhere", "no model nowhere"),
        ("size_px=50000", "GB are free: use a smaller size"),
    ],
)
def test_mistakes_are_one_line(wrong: str, said: str, overrides: list[str], fst_here):
    done = fst_here("optimize", *overrides, wrong)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_styles_on_the_command_line(tmp_path: Path):
    assert expand("style=a.jpg") == ["styles=['a.jpg']"]
    assert expand("style=[a.jpg,it's b.jpg]") == [r"styles=['a.jpg','it\'s b.jpg']"]
    assert expand("style=a.jpg,b.jpg") == ["styles=['a.jpg'],['b.jpg']"]  # a sweep
    assert expand("style=vortices")[0].endswith("style/vortices.jpg']")
    assert expand("content=my photo (1).jpg") == ["content='my photo (1).jpg'"]
    assert expand("size_px=64") == ["size_px=64"]
