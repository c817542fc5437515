"""Trainings of one network for any painting, and what the model does."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import torch
from samples import draw_picture

import fst
from fst.config import MomentsLossConfig
from fst.losses.registry import LOSSES
from fst.losses.relative import MomentsLoss
from fst.losses.terms import Term
from fst.models.model_file import describe, open_model, read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import find_model
from fst.models.style_choice import predict_code
from fst.networks.palette import apply_palette, colours_of, fit_palette
from fst.networks.predictor import predictor_input
from fst.networks.styled import StyledNetwork, in_style, style_vector, stylize_with
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import resize
from fst.training.any_style import AnyStyleTask, mix
from fst.training.distributed import World
from fst.training.learning import CODE_RATE, SIZE_OF_ANY_PX, add_styles
from fst.training.registry import train
from fst.training.run import Run
from fst.training.stopping import StopRequest
from fst.training.style import StyleTask

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paintings")
    for i in range(6):
        draw_picture(folder / f"{i}.png", 300 + i, 72, 66)
    return folder


@pytest.fixture(scope="module")
def overrides(
    tiny_overrides_in: Callable[[Path], list[str]],
    paintings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[str]:
    tiny = tiny_overrides_in(tmp_path_factory.mktemp("runs"))
    given = {"style": "", "style.size_px": ""}
    return [
        f"any={paintings}",
        "style.size_px=64",
        "style.predictor_px=64",
        "style.crop_px=64",
        "style.heldout_styles=2",
        *(override for override in tiny if override.partition("=")[0] not in given),
    ]


@pytest.fixture(scope="module")
def run(compose, overrides: list[str]) -> Path:
    config = compose(overrides)
    assert train(config) == 0
    return config.run_dir


def test_the_model_paints_in_the_style_that_it_predicts(run: Path, paintings: Path):
    model = run / "model.safetensors"
    read = read_model(model)
    network, info = read.network, read.info
    assert isinstance(network, StyledNetwork) and network.predictor is not None
    assert (len(network.codes), info.predictor_px, info.styles) == (0, 64, [])
    painting, photo = paintings / "1.png", torch.rand(1, 3, 40, 56)
    code = predict_code(network, fst.read_image(painting), 64)
    expected = stylize_with(network.network, network.map_codes(code[None], torch.zeros(1)), photo)
    read = open_model(find_model(f"{run}:{painting}"))
    one, of_one = read.network, read.info
    assert (of_one.title, of_one.predictor_px) == ("1", 0)
    torch.testing.assert_close(one(photo), expected)
    torch.testing.assert_close(fst.load(f"{model}:{painting}", dtype="fp32")(photo), expected)
    other = open_model(find_model(f"{run}:{paintings / '2.png'}")).network
    assert (other(photo) - one(photo)).abs().max() > 1e-4


def test_a_blend_of_paintings_is_the_mean_of_their_vectors(run: Path, paintings: Path):
    first, second = paintings / "1.png", paintings / "2.png"
    choices = [f"{run}:{first}", f"{run}:{second}", f"{run}:{first}=0.25,{second}=0.75"]
    one, two, blend = (open_model(find_model(choice)).network.stem[2].weight for choice in choices)
    torch.testing.assert_close(blend, 0.25 * one + 0.75 * two)


def test_the_strength_turns_the_network(run: Path, paintings: Path):
    stylize = fst.load(f"{run}:{paintings / '1.png'}", dtype="fp32")
    assert stylize.choice is not None
    photo = torch.rand(1, 3, 48, 48)
    weakest = stylize.choice.fold(-1.0)(photo)
    torch.testing.assert_close(stylize(photo, strength=0.5), weakest)
    torch.testing.assert_close(stylize(photo, strength=0.125), torch.lerp(photo, weakest, 0.25))
    assert torch.equal(stylize(photo, strength=0.0), photo)
    strongest = stylize.choice.fold(1.0)(photo)
    torch.testing.assert_close(stylize(photo, strength=1.5), strongest)
    assert (strongest - weakest).abs().max() > 1e-4
    alone = fst.Stylizer(stylize.choice.fold(1.0), stylize.info, CPU, torch.float32)
    for options in ({"strokes": 2.0}, {"tile_px": 32}, {"keep_colors": True}):
        turned = stylize(photo, strength=1.5, **options)
        torch.testing.assert_close(turned, alone(photo, **options))


def test_an_ordinary_model_has_no_strength_above_one(run: Path, paintings: Path):
    museum = fst.load("starry_night", dtype="fp32")
    with pytest.raises(ValueError, match="above 1 it needs a model that takes any painting"):
        museum(torch.rand(1, 3, 32, 32), strength=1.2)


def test_a_stopped_run_resumes_bit_for_bit(
    compose, overrides: list[str], run: Path, tmp_path: Path, capsys
):
    whole = read_model(run / "model.safetensors").network.state_dict()
    elsewhere = [*overrides, f"runs_dir={tmp_path}"]
    config = compose(elsewhere)
    training = Run(AnyStyleTask, config, World(), CPU)
    step = training.step

    def step_and_stop(images: torch.Tensor) -> None:
        step(images)
        if training.seen_images == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    training.step = step_and_stop  # type: ignore[method-assign]
    with StopRequest() as stop:
        assert training.run(stop, console=False) == signal.SIGTERM
    assert train(compose(elsewhere), console=True) == 0
    assert "resuming at 12 of 24 images" in capsys.readouterr().out
    resumed = read_model(config.run_dir / "model.safetensors").network.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_loss_compares_with_the_paintings_that_the_network_is_shown(
    compose, overrides: list[str], tmp_path: Path
):
    settings = ["style.mixed=0", "loss.style_pictures=2", f"runs_dir={tmp_path}"]
    config = compose([*overrides, *settings])
    task = Run(AnyStyleTask, config, World(), CPU).task
    stylize, objective, numbers = task.draw(position=9, count=4)  # of 8 and 9, 10 and 11, 12 and 13
    assert numbers.tolist() == [0, 1, 1, 2]
    crops = torch.stack([task.paintings.train[position][0] for position in (8, 10, 12)]) / 255
    expected = task.loss.style_targets(crops)
    for name, target in expected.items():
        torch.testing.assert_close(objective.get_buffer(name), target)
    weights = objective.weights / config.loss.style_weight
    assert ((weights >= 0.25) & (weights <= 4)).all() and weights.std() > 0
    styled = task.descent.network.styled
    images = torch.rand(4, 3, 40, 40)
    with torch.no_grad():
        codes = styled.predictor(predictor_input(task.moments.style_targets(crops)))
        strengths = weights.log() / torch.tensor(4.0).log()
        vectors = styled.map_codes(codes, strengths)[[0, 1, 1, 2]]
        torch.testing.assert_close(stylize(images), stylize_with(styled.network, vectors, images))


def test_mixed_values_are_moved_towards_their_partners():
    values = torch.tensor([[0.0, 0.0], [4.0, 8.0], [1.0, 1.0], [8.0, 0.0]])
    result = mix(values, torch.tensor([1]), torch.tensor([0.25]))
    assert result.tolist() == [[0.0, 0.0], [5.0, 6.0], [1.0, 1.0]]


def test_what_is_drawn_depends_on_the_position_alone(compose, overrides: list[str], tmp_path):
    """However the images are shared by steps and processes."""
    config = compose([*overrides, "style.mixed=1", f"runs_dir={tmp_path}"])
    task = Run(AnyStyleTask, config, World(), CPU).task
    images = torch.rand(4, 3, 40, 40)

    def draw(position: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        stylize, objective, numbers = task.draw(position, count)
        with torch.no_grad():
            stylized = stylize(images[position : position + count])
        return stylized, objective.get_buffer("target_0_relu1_2")[numbers]

    together, first, second = draw(0, 4), draw(0, 1), draw(1, 3)
    for whole, *parts in zip(together, first, second, strict=True):
        torch.testing.assert_close(whole, torch.cat(parts), atol=1e-5, rtol=1e-4)


def test_half_precision_trains_to_nearly_the_same(compose, overrides: list[str], tmp_path: Path):
    totals = []
    for precision in ("fp32", "bf16"):
        settings = [f"training.precision={precision}", "training.images=8"]
        settings.append("optimizer.learning_rate=2e-4")  # Adam's first steps amplify any difference
        config = compose([*overrides, *settings, f"runs_dir={tmp_path / precision}"])
        assert train(config) == 0
        *_, last = (config.run_dir / "metrics.jsonl").read_text().splitlines()
        totals.append(json.loads(last)["heldout/total"])
    assert totals[1] == pytest.approx(totals[0], rel=0.01)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("loss=relative", "loss=relative: any= is trained with loss=moments"),
        ("loss.content_target=0.8", "loss.content_target=0.8 adapts the weight of a style"),
        ("style.heldout_styles=0", "style.heldout_styles=0 must be at least 1"),
        ("style.predictor_px=32", r"style.predictor_px=32 must be in \[64, 1024\]"),
        ("style.mixed=2", r"style.mixed=2.0 must be in \[0, 1\]"),
        ("style.path={picture}", "1.png is not a folder of paintings"),
    ],
)
def test_mistakes_are_explained(
    compose, overrides: list[str], paintings: Path, given: str, message: str
):
    override = given.format(picture=paintings / "1.png")
    with pytest.raises(ValueError, match=message):
        compose([*overrides, override])


@dataclass
class GreyerConfig(MomentsLossConfig):
    name: str = "greyer"


class Chroma(Term):
    name = "chroma"

    def __call__(self, stylized: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (stylized - stylized.mean(1, keepdim=True)).abs().mean((1, 2, 3))


class GreyerLoss(MomentsLoss):
    """The default loss with a further term, as docs/extending.md adds one."""

    def further_terms(self) -> list[Term]:
        return [*super().further_terms(), Chroma(2.0)]


def test_a_loss_that_adds_a_term_to_the_default_one_trains_for_any_painting(
    compose, overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = compose([*overrides, f"runs_dir={tmp_path}"])
    values = {each.name: getattr(config.loss, each.name) for each in fields(config.loss)}
    loss = GreyerConfig(**{**values, "name": "greyer"})
    monkeypatch.setitem(LOSSES, "greyer", GreyerLoss)
    task = Run(AnyStyleTask, replace(config, loss=loss), World(), CPU).task
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    assert task.terms(images, 0)["chroma"] > 0


def test_a_start_of_another_architecture_is_refused(compose, overrides: list[str], tmp_path):
    for init in ("museum", "museum:udnie", "starry_night"):
        config = compose([*overrides, f"init={init}", f"runs_dir={tmp_path}"])
        with pytest.raises(ValueError, match=f"init={init} is .*requires the same architecture"):
            Run(AnyStyleTask, config, World(), CPU)


def test_a_painting_s_palette_is_fitted_when_it_is_chosen_or_learnt(
    run: Path, paintings: Path, photos: Path, tmp_path: Path
):
    read = read_model(run / "model.safetensors")
    network, info = read.network, read.info
    assert isinstance(network, StyledNetwork)
    model, more = tmp_path / "half.safetensors", tmp_path / "more.safetensors"
    info.palette_share = 0.5
    save_model(model, network, info)
    painting, photo = paintings / "3.png", torch.rand(1, 3, 40, 56)
    expected = open_model(find_model(f"{run}:{painting}")).network
    apply_palette(
        expected, fit_palette(expected, colours_of(expected, fst.read_image(painting)), 0.5)
    )
    torch.testing.assert_close(
        open_model(find_model(f"{model}:{painting}")).network(photo), expected(photo)
    )

    add_styles(find_model(model), [str(painting)], photos, more, images=1)
    read = read_model(more)
    learnt, info = read.network, read.info
    assert isinstance(learnt, StyledNetwork)
    assert info.palette_share == 0.5
    found = learnt.palettes[0].clone()
    learnt.palettes[0] = 0
    picture = resize(fst.read_image(painting), SIZE_OF_ANY_PX)
    folded = in_style(learnt)
    torch.testing.assert_close(found, fit_palette(folded, colours_of(folded, picture), 0.5))


def test_training_judges_and_describes_styles_with_their_palettes(
    compose, overrides: list[str], tmp_path: Path
):
    without = [override for override in overrides if not override.startswith("training.palette")]
    config = compose([*without, f"runs_dir={tmp_path}"])
    assert config.training.palette == 0.9
    task = Run(AnyStyleTask, config, World(), CPU).task
    judged = task.with_styles()
    assert task.describe(judged, 0, {}, {}).palette_share == 0.9
    found = judged.palettes.clone()
    judged.palettes.zero_()
    for number, style in enumerate(task.styles):
        folded = in_style(judged, number)
        expected = fit_palette(folded, colours_of(folded, style.pictures[0]), 0.9)
        torch.testing.assert_close(found[number], expected)


def test_learning_starts_from_the_prediction(run: Path, paintings: Path, photos: Path, tmp_path):
    painting, output = paintings / "3.png", tmp_path / "more.safetensors"
    (learnt,) = add_styles(find_model(run), [str(painting)], photos, output, images=1)
    assert learnt.name == "3"
    read = read_model(output)
    network, info = read.network, read.info
    assert (info.predictor_px, [style.name for style in info.styles]) == (64, ["3"])
    assert isinstance(network, StyledNetwork)
    predicted = predict_code(network, fst.read_image(painting), 64)
    # One step of Adam moves each value by at most its rate.
    assert (network.codes[0] - predicted).abs().max() <= 1.01 * CODE_RATE
    assert open_model(find_model(f"{output}:{painting}")).info.title == "3"


def test_a_run_of_one_style_or_several_starts_from_what_is_predicted_for_them(
    compose, tiny_overrides: list[str], run: Path, paintings: Path, tmp_path: Path
):
    settings = [*tiny_overrides[1:], "style.size_px=66", f"init={run}", f"runs_dir={tmp_path}"]
    chosen = [paintings / "1.png", paintings / "2.png"]
    predicted = [open_model(find_model(f"{run}:{painting}")) for painting in chosen]

    config = compose([f"style={chosen[0]}", *settings])
    network = Run(StyleTask, config, World(), CPU).task.descent.network
    expected = predicted[0].network.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name

    config = compose([f"styles=[{chosen[0]},{chosen[1]}]", *settings])
    several = Run(StyleTask, config, World(), CPU).task.descent.network
    assert isinstance(several, StyledNetwork)
    for number, model in enumerate(predicted):
        assert isinstance(model.network, TransformerNetwork)
        torch.testing.assert_close(several.vectors()[number], style_vector(model.network))


def test_a_run_starts_from_another_with_a_predictor_or_from_a_network(
    compose, overrides: list[str], run: Path, tmp_path: Path
):
    read = read_model(run / "model.safetensors")
    network, info = read.network, read.info
    assert isinstance(network, StyledNetwork)
    several = StyledNetwork(network.network, 2)
    styles = [StyleInfo("sea"), StyleInfo("sky")]
    save_model(tmp_path / "several.safetensors", several, describe(several, styles=styles))
    save_model(tmp_path / "one.safetensors", network.network, describe(network.network))

    def begin(init: object) -> StyledNetwork:
        config = compose([*overrides, f"init={init}", f"runs_dir={tmp_path}"])
        return Run(AnyStyleTask, config, World(), CPU).task.descent.network.styled

    def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
        there = other.state_dict()
        return all(torch.equal(value, there[name]) for name, value in one.state_dict().items())

    assert equal(begin(run), network)
    for file in ("several.safetensors", "one.safetensors"):
        assert equal(begin(tmp_path / file).network, network.network)

    smaller = StyledNetwork(network.network, 0, predicts=True, code_size=8, hidden=16)
    save_model(tmp_path / "smaller.safetensors", smaller, info)
    with pytest.raises(ValueError, match="has codes of 8 values and a mapper of 16"):
        begin(tmp_path / "smaller.safetensors")
