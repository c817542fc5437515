"""Measure the small loss network of the package against VGG16, which it was distilled from.

python scripts/measure/slim.py features HELDOUT --weights VGG16
python scripts/measure/slim.py models PHOTOGRAPHS STYLE... --weights VGG16 --overrides KEY=VALUE...
python scripts/measure/slim.py judge HELDOUT STYLE... --weights VGG16
python scripts/measure/slim.py step --weights VGG16

features: errors of features and Gram matrices on photographs, and those of the same network with
random weights. models: trains each style with either network, the same images seen. judge: those
models by VGG16's loss on photographs that they have not seen, contact sheets, and whether the two
networks rank what was made on the way alike. step: the cost of a training step.

HELDOUT is a folder of photographs, and STYLE a picture, that neither saw in training.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path

import torch
from distill_vgg16 import least_squares
from rank_correlation import spearman
from torch import Tensor

from fst.cli.train import compose_training
from fst.config import SLIM_LAYERS, FastConfig, RelativeLossConfig
from fst.losses.loss_network import LossNetwork
from fst.losses.objective import towards
from fst.losses.relative import RelativeLoss
from fst.losses.slim import Slim, load_slim
from fst.losses.statistics import gram_matrix
from fst.losses.vgg import load_vgg16
from fst.models.model_file import read_model
from fst.networks.fast import Fast
from fst.pictures.image import files_below, middle_square, read_image, resize, write_image
from fst.pictures.sheet import contact_sheet
from fst.training.distributed import World
from fst.training.run import Run
from fst.training.stopping import StopRequest
from fst.training.style import StyleTask

NETWORKS = ("vgg16", "slim")
STAGES = (0, 20, 60, 160, 400)
"""Images after which a model is kept, beside the last."""
TERMS = ("content", "style", "total")
HELDOUT_PX = 192


class KeepingRun(Run):
    """Keeps the model at each of the stages."""

    def save(self) -> None:
        """Save, and copy the model if it is one to be kept."""
        super().save()
        if self.seen_images in (*STAGES, self.config.training.images):
            shutil.copy(
                self.folder.model, self.folder.path / f"at_{self.seen_images:05}.safetensors"
            )


def train_models(given: argparse.Namespace) -> None:
    """Train each style with either loss network."""
    for style in given.styles:
        for loss_network in NETWORKS:
            overrides = [
                f"style={style}",
                f"data.path={given.photographs}",
                "data.heldout_images=0",
                "experiment=quick",
                "training.save_every=20",
                f"loss_network={loss_network}",
                *([f"loss_network.weights={given.weights}"] if loss_network == "vgg16" else []),
                f"runs_dir={given.output}",
                f"name={style.stem}/{loss_network}",
                *given.overrides,
            ]
            run = KeepingRun(StyleTask, compose_training(overrides), World(), torch.device("cpu"))
            if not run.folder.state.exists():
                run.folder.path.mkdir(parents=True, exist_ok=True)
                run.save()
            with StopRequest() as stop:
                run.run(stop, console=True)


@torch.no_grad()
def judge_models(given: argparse.Namespace) -> None:
    """Print both tables, and write a contact sheet a style."""
    photos = heldout(given.heldout)
    networks: dict[str, LossNetwork] = {"vgg16": given.vgg16(), "slim": load_slim()}
    rows, ranks = [], []
    everything = {name: torch.empty(len(TERMS), 0) for name in networks}
    for style_file in given.styles:
        style = resize(read_image(style_file), 256)
        losses = {
            name: towards(RelativeLoss(network, RelativeLossConfig()), style)
            for name, network in networks.items()
        }
        pairs: dict[str, list[list[float]]] = {name: [] for name in networks}
        finals, results = {}, {}
        for trained_with in NETWORKS:
            for file in sorted((given.output / style_file.stem / trained_with).glob("at_*")):
                read = read_model(file)
                model, info = read.network, read.info
                seen = photos[::2] if info.seen_images in STAGES else photos
                stylized = [model(photo) for photo in seen]
                for name, loss in losses.items():
                    terms = [loss(y, x) for y, x in zip(stylized, seen, strict=True)]
                    pairs[name] += [[t[term].item() for term in TERMS] for t in terms]
            # What comes last is the whole training; it alone is judged on all photographs.
            finals[trained_with] = torch.tensor(pairs["vgg16"][-len(photos) :]).mean(0).tolist()
            results[trained_with] = torch.cat(stylized[:4])
        sheets = [contact_sheet(style, torch.cat(photos[:4]), results[name]) for name in NETWORKS]
        write_image(torch.cat(sheets, dim=2), given.output / f"{style_file.stem}.jpg")
        by_network = {name: torch.tensor(values).T for name, values in pairs.items()}
        rows.append((style_file.stem, finals))
        ranks.append((style_file.stem, len(pairs["slim"]), by_network))
        everything = {k: torch.cat([v, by_network[k]], dim=1) for k, v in everything.items()}

    print("| style | trained with vgg16: content, style, total | with slim | total, slim / vgg16 |")
    print("|---|---|---|---|")
    ratios = []
    for title, finals in rows:
        shown = [", ".join(f"{value:.3f}" for value in finals[name]) for name in NETWORKS]
        ratios.append(finals["slim"][2] / finals["vgg16"][2])
        print(f"| {title} | {shown[0]} | {shown[1]} | {ratios[-1]:.3f} |")
    print(f"| mean | | | {statistics.mean(ratios):.3f} |")
    print(f"\n| style | pictures | {' | '.join(f'rank correlation, {t}' for t in TERMS)} |")
    print("|---|---|---|---|---|")
    for title, count, values in [*ranks, ("all", everything["slim"].shape[1], everything)]:
        shown = [
            f"{spearman(a, b):.3f}" for a, b in zip(values["slim"], values["vgg16"], strict=True)
        ]
        print(f"| {title} | {count} | {' | '.join(shown)} |")


@torch.no_grad()
def measure_features(given: argparse.Namespace) -> None:
    """Print the table of errors on photographs, relative and squared."""
    photos, vgg16 = heldout(given.heldout), given.vgg16()
    slim = load_slim()
    print("| layer | slim: features, Gram matrices | random weights: features, Gram matrices |")
    print("|---|---|---|")
    errors = [feature_errors(vgg16, n, photos) for n in (slim, random_network(vgg16, slim, photos))]
    for layer, ours, random in zip(SLIM_LAYERS, *errors, strict=True):
        print(
            f"| {layer} | {', '.join(f'{e:.3f}' for e in ours)} "
            f"| {', '.join(f'{e:.3f}' for e in random)} |"
        )


def random_network(vgg16: LossNetwork, slim: Slim, photos: list[Tensor]) -> Slim:
    """Return the network with random convolutions (He et al. 2015), its maps fitted on `photos`.

    That they are fitted on the very photographs it is judged by is in its favour.
    """
    torch.manual_seed(0)
    network = Slim()
    network.load_state_dict(slim.state_dict())
    for convolution in network.convolutions.values():
        torch.nn.init.kaiming_normal_(convolution.get_parameter("weight"), nonlinearity="relu")
        torch.nn.init.zeros_(convolution.get_parameter("bias"))
    for layer in SLIM_LAYERS:
        reached: list[Tensor] = []
        hook = network.maps[layer].register_forward_pre_hook(lambda _, x, to=reached: to.append(*x))
        for photo in photos:
            network(photo, [layer])
        hook.remove()
        basis = slim.basis(layer)
        wanted = torch.cat([vgg16(photo, [layer])[layer] for photo in photos])
        target = torch.einsum("nchw,cd->ndhw", wanted, basis / basis.square().sum(0))
        weight, bias = least_squares(torch.cat(reached), target, kernel=1)
        network.maps.get_parameter(f"{layer}.weight").copy_(weight)
        network.maps.get_parameter(f"{layer}.bias").copy_(bias)
    return network


def feature_errors(vgg16: LossNetwork, slim: Slim, photos: list[Tensor]) -> list[list[float]]:
    """Return for each layer the errors of features and Gram matrices, in VGG16's own channels."""
    errors: list[list[list[float]]] = [[] for _ in SLIM_LAYERS]
    for photo in photos:
        theirs, ours = vgg16(photo, SLIM_LAYERS), slim(photo, SLIM_LAYERS)
        for found, layer in zip(errors, SLIM_LAYERS, strict=True):
            back = torch.einsum("nchw,dc->ndhw", ours[layer], slim.basis(layer))
            pairs = [(back, theirs[layer]), (gram_matrix(back), gram_matrix(theirs[layer]))]
            found.append([((a - b).square().sum() / b.square().sum()).item() for a, b in pairs])
    return [torch.tensor(found).mean(0).tolist() for found in errors]


def heldout(folder: Path) -> list[Tensor]:
    """Return the folder's photographs, each (1, 3, S, S), cut square from the middle."""
    return [middle_square(resize(read_image(file), HELDOUT_PX)) for file in files_below(folder)]


def measure_step(given: argparse.Namespace) -> None:
    """Print the CPU time of whole training steps of `fast`, one network after the other."""
    networks: dict[str, LossNetwork] = {"vgg16": given.vgg16(), "slim": load_slim()}
    style = torch.rand(1, 3, 256, 256)
    losses = {
        name: towards(
            RelativeLoss(network.to(memory_format=torch.channels_last), RelativeLossConfig()), style
        )
        for name, network in networks.items()
    }
    fast = Fast(FastConfig()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(fast.parameters(), 2e-3)
    print("| crops | vgg16 | slim | ratio |\n|---|---|---|---|")
    for batch_size, crop_px in ((2, 128), (4, 256)):
        content = torch.rand(batch_size, 3, crop_px, crop_px)
        content = content.contiguous(memory_format=torch.channels_last)
        seconds: dict[str, list[float]] = {name: [] for name in losses}
        for _ in range(given.steps + 1):
            for name, loss in losses.items():
                started = time.process_time()
                optimizer.zero_grad(set_to_none=True)
                loss(fast(content), content)["total"].backward()
                optimizer.step()
                seconds[name].append(time.process_time() - started)
        medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        print(
            f"| {batch_size} of {crop_px} px | {medians['vgg16']:.3f} s | {medians['slim']:.3f} s "
            f"| {medians['vgg16'] / medians['slim']:.2f} |"
        )


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--weights", help="a file of VGG16 weights; otherwise cache or download")
    shared.add_argument("--output", type=Path, default=Path("runs/slim"))
    commands = parser.add_subparsers(required=True)
    features = commands.add_parser("features", parents=[shared])
    features.add_argument("heldout", type=Path)
    features.set_defaults(run=measure_features)
    models = commands.add_parser("models", parents=[shared])
    models.add_argument("photographs", type=Path)
    models.add_argument("styles", type=Path, nargs="+")
    models.add_argument("--overrides", nargs="*", default=[], metavar="key=value")
    models.set_defaults(run=train_models)
    judge = commands.add_parser("judge", parents=[shared])
    judge.add_argument("heldout", type=Path)
    judge.add_argument("styles", type=Path, nargs="+")
    judge.set_defaults(run=judge_models)
    step = commands.add_parser("step", parents=[shared])
    step.add_argument("--steps", type=int, default=15)
    step.set_defaults(run=measure_step)
    given = parser.parse_args()
    given.vgg16 = lambda: load_vgg16(given.weights, SLIM_LAYERS[-1])
    given.run(given)


if __name__ == "__main__":
    main()
