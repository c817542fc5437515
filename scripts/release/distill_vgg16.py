"""Distil VGG16 up to relu3_3 into the small loss network, `fst/losses/slim.safetensors`.

python scripts/release/distill_vgg16.py PHOTOGRAPHS STYLES --weights VGG16 [--output FILE]

A network that has only seen photographs is soon fooled: whoever lowers its loss moves to pictures
that it judges too mildly. So it is trained on what is made to please it as it is now: a few
transformer networks and a few pictures are optimised on its loss all the while, begun anew
with another style now and then, and it learns VGG16's features of their results, besides those of
photographs, styles and noise. What is matched is what a loss compares: the features and their
Gram matrices, each relative to VGG16's, at full, half and quarter size.

The first weights are VGG16's: the channels that tell most of the others, fitted by least squares to
give what they give from the fewer channels before them. Run the same command again to go on.

PHOTOGRAPHS and STYLES are folders of pictures; what is to be measured with belongs in neither.
A step takes about a second on one core with bf16.
"""

import argparse
import copy
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from fst.atomic import replacing
from fst.config import SLIM_LAYERS, FastConfig, FolderDataConfig
from fst.data.batches import content_batches, open_data
from fst.losses.slim import CHANNELS, Slim
from fst.losses.statistics import differences, gram_matrix
from fst.losses.vgg import VGG16, load_vgg16
from fst.networks.fast import Fast
from fst.pictures.image import files_below, read_image, resize, to_unit_range
from fst.training.schedule import update_average

CROP_PX = 96
LEVELS = 3
LEARNING_RATE = 7e-4
WARMUP_STEPS = 50
EMA_HALF_LIFE = 60  # steps
PAINTERS, CANVASES = 5, 12
PHOTOS = 3  # new ones a step: two to be painted, one to be disturbed
SAVE_EVERY, REPORT_EVERY = 100, 25  # steps
LICENCE = (
    "Derived from the Oxford VGG16 of K. Simonyan and A. Zisserman (CC BY 4.0, "
    "https://www.robots.ox.ac.uk/~vgg/research/very_deep/), distilled by "
    "scripts/release/distill_vgg16.py of fst; CC BY 4.0"
)

Pyramid = list[dict[str, Tensor]]
"""The features of each layer, at full size, half, quarter."""


class Teacher:
    """VGG16's features in the bases that the student has for them."""

    def __init__(self, vgg: VGG16, student: Slim) -> None:
        self.vgg = vgg
        # The columns are orthogonal, and as long as the features are large.
        self.bases = {
            layer: student.basis(layer) / student.basis(layer).square().sum(0)
            for layer in SLIM_LAYERS
        }

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Return what the student should: for each layer (N, C, H, W), about 1 in size."""
        features = self.vgg(image.contiguous(memory_format=torch.channels_last), SLIM_LAYERS)
        return {
            layer: F.conv2d(value, self.bases[layer].T[..., None, None])
            for layer, value in features.items()
        }


class Canvas(nn.Module):
    """Two pictures that are optimised themselves, as Gatys et al. do."""

    def __init__(self, photos: Tensor) -> None:
        super().__init__()
        start = photos if random.random() < 0.7 else torch.rand_like(photos)
        self.pixels = nn.Parameter(start.clone())

    def forward(self, _: Tensor) -> Tensor:
        """Return the pictures, (2, 3, S, S)."""
        self.pixels.data.clamp_(0, 1)
        return self.pixels.view_as(self.pixels)


class Opponent:
    """Something that makes pictures and is optimised on the student's loss, for a while."""

    def __init__(
        self, module: nn.Module, photos: Tensor | None, style: Tensor, rate: float
    ) -> None:
        self.module = module.to(memory_format=torch.channels_last)
        self.photos = photos
        self.style = style
        self.style_weight = math.exp(random.uniform(math.log(2), math.log(20)))
        self.optimizer = torch.optim.Adam(module.parameters(), rate, betas=(0.9, 0.99))
        self.steps_left = 0

    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Take one step along these gradients."""
        for parameter, gradient in zip(self.module.parameters(), gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.steps_left -= 1


def new_painter(photos: Tensor, style: Tensor) -> Opponent:
    """Return a network that has just begun to learn a style."""
    painter = Opponent(Fast(FastConfig()), None, style, rate=2e-3)
    painter.steps_left = random.randint(100, 800)
    return painter


def new_canvas(photos: Tensor, style: Tensor) -> Opponent:
    """Return two pictures that have just begun to take on a style."""
    canvas = Opponent(Canvas(photos), photos, style, rate=random.choice((0.01, 0.03)))
    canvas.steps_left = random.randint(20, 150)
    return canvas


class Styles:
    """Random pieces of the style pictures, some with their colours exchanged; some photographs."""

    def __init__(self, folder: Path) -> None:
        self.pictures = [resize(read_image(file), 320) for file in files_below(folder)]

    def __call__(self, photo: Tensor) -> Tensor:
        """Return (1, 3, S, S): a piece of a style, or now and then `photo`, also (1, 3, S, S)."""
        picture = photo
        if random.random() < 0.75:
            whole = random.choice(self.pictures)
            side = random.randint(CROP_PX, min(whole.shape[-2:]))
            top, left = (random.randint(0, length - side) for length in whole.shape[-2:])
            piece = whole[..., top : top + side, left : left + side]
            picture = F.interpolate(piece, (CROP_PX, CROP_PX), mode="bicubic", antialias=True)
        if random.random() < 0.4:
            picture = exchange_colours(picture)
        return picture.clamp(0, 1)


def exchange_colours(image: Tensor) -> Tensor:
    """Return the picture with its channels in another order, some of them inverted."""
    channels = image[:, torch.randperm(3)]
    return torch.where(torch.rand(1, 3, 1, 1) < 0.3, 1 - channels, channels)


DISTURBANCES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda photo, style: photo + random.uniform(0.02, 0.3) * torch.randn_like(photo),
    lambda photo, style: torch.lerp(photo, style, random.uniform(0.2, 0.8)),
    lambda photo, style: 0.5 + random.uniform(0.1, 3) * (photo - random.uniform(0.2, 0.8)),
    lambda photo, style: exchange_colours(photo),
    lambda photo, style: F.avg_pool2d(photo, 5, 1, 2),
    lambda photo, style: F.interpolate(
        torch.rand(1, 3, *2 * [random.choice((6, 12, 24, 48, CROP_PX))]), CROP_PX
    ).roll(random.randint(0, 7), 2),
)
"""What becomes of a photograph: noise, a blend, other contrast or colours, blur, blocks instead."""


def pyramid(network: Callable[[Tensor], dict[str, Tensor]], image: Tensor) -> Pyramid:
    """Return the features at full size, half, quarter."""
    levels = []
    for _ in range(LEVELS):
        levels.append({layer: value.float() for layer, value in network(image).items()})
        image = F.avg_pool2d(image, 2)
    return levels


def relative_errors(ours: Pyramid, theirs: Pyramid, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (levels, layers, N): |measure(ours) - measure(theirs)|^2 / |measure(theirs)|^2."""
    return torch.stack(
        [
            torch.stack([relative(measure(a[k]), measure(b[k])) for k in SLIM_LAYERS])
            for a, b in zip(ours, theirs, strict=True)
        ]
    )


def relative(value: Tensor, target: Tensor) -> Tensor:
    """Return (N,): the squared distance from the target over the target's square."""
    size = target.square().flatten(1).sum(1)
    # Flat pictures have next to nothing to be relative to.
    return (value - target).square().flatten(1).sum(1) / (size + 0.01 * size.mean())


def part(features: Pyramid, rows: slice) -> Pyramid:
    """Return the features of some of the pictures."""
    return [{layer: value[rows] for layer, value in level.items()} for level in features]


def perceptual_loss(
    painted: Pyramid, photos: Pyramid, style: Pyramid, style_weight: float, image: Tensor
) -> Tensor:
    """Return what `RelativeLoss` does, from features that are already computed."""
    content = relative(painted[0]["relu3_3"], photos[0]["relu3_3"].detach()).mean()
    distances = [
        relative(gram_matrix(level[layer]), gram_matrix(target[layer].detach())).mean()
        for level, target in zip(painted, style, strict=True)
        for layer in SLIM_LAYERS
    ]
    across, down = differences(image)
    roughness = across.abs().mean() + down.abs().mean()
    return content + style_weight * torch.stack(distances).mean() + 0.02 * roughness


class Distillation:
    """The student, its moving average, and those who try to please it."""

    def __init__(
        self, teacher: Teacher, student: Slim, styles: Styles, steps: int, bf16: bool
    ) -> None:
        self.teacher = teacher
        self.student = student.requires_grad_(True).train()
        self.average = copy.deepcopy(student).requires_grad_(False)
        self.weights = list(student.parameters())
        self.optimizer = torch.optim.Adam(self.weights, LEARNING_RATE, betas=(0.9, 0.99))
        self.styles = styles
        self.steps = steps
        self.steps_done = 0
        self.bf16 = bf16
        self.painters: list[Opponent] = []
        self.canvases: list[Opponent] = []

    def step(self, photos: Tensor) -> Tensor:
        """Take one step of the student and of two of the opponents.

        Args:
            photos: (PHOTOS, 3, S, S) in [0, 1].

        Returns:
            (3, layers): the errors of the features of photographs, painted and optimised pictures,
            at full size.
        """
        painter = self.next_opponent(self.painters, PAINTERS, new_painter, photos)
        canvas = self.next_opponent(self.canvases, CANVASES, new_canvas, photos)
        assert canvas.photos is not None
        disturbed = random.choice(DISTURBANCES)(photos[2:], painter.style).clamp(0, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            painted = painter.module(photos[:2]).float()
            optimised = canvas.module(photos)
            made = torch.cat([painted, optimised])
            given = torch.cat([photos[:2], canvas.photos, painter.style, canvas.style, disturbed])
            # Apart, since the way back to pictures is taken only for what is being made.
            ours_made = pyramid(self.student_features, made)
            ours_given = pyramid(self.student_features, given)
            with torch.no_grad():
                theirs = pyramid(self.teacher, torch.cat([made, given]))
        for i, opponent, picture in ((0, painter, painted), (1, canvas, optimised)):
            loss = perceptual_loss(
                part(ours_made, slice(2 * i, 2 * i + 2)),
                part(ours_given, slice(2 * i, 2 * i + 2)),
                part(ours_given, slice(4 + i, 5 + i)),
                opponent.style_weight,
                picture,
            )
            parameters = list(opponent.module.parameters())
            opponent.step(torch.autograd.grad(loss, parameters, retain_graph=True))

        ours = [
            {layer: torch.cat([a[layer], b[layer]]) for layer in SLIM_LAYERS}
            for a, b in zip(ours_made, ours_given, strict=True)
        ]
        features = relative_errors(ours, theirs, lambda value: value)
        grams = relative_errors(ours, theirs, gram_matrix)
        self.learn((features + grams).mean(2).sum(1) @ torch.tensor([0.5, 0.25, 0.25]))
        groups = [slice(4, 8), slice(0, 2), slice(2, 4)]
        return torch.stack([features[0][:, rows].mean(1) for rows in groups]).detach()

    def student_features(self, image: Tensor) -> dict[str, Tensor]:
        """Return the student's features of the compared layers."""
        features: dict[str, Tensor] = self.student(
            image.contiguous(memory_format=torch.channels_last), SLIM_LAYERS
        )
        return features

    def learn(self, error: Tensor) -> None:
        """Take one step of the student, and of its average."""
        rising = min(1.0, (self.steps_done + 1) / WARMUP_STEPS)
        falling = (1 + math.cos(math.pi * self.steps_done / self.steps)) / 2
        self.optimizer.param_groups[0]["lr"] = LEARNING_RATE * rising * falling
        for weight, gradient in zip(
            self.weights, torch.autograd.grad(error, self.weights), strict=True
        ):
            weight.grad = gradient
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.steps_done += 1
        update_average(self.average, self.student, 0.5 ** (1 / EMA_HALF_LIFE))

    def next_opponent(
        self,
        opponents: list[Opponent],
        count: int,
        new: Callable[[Tensor, Tensor], Opponent],
        photos: Tensor,
    ) -> Opponent:
        """Return the one whose turn it is; a new one if its time is over."""
        if len(opponents) < count:
            opponents.append(new(photos[:2], self.styles(photos[2:])))
            return opponents[-1]
        turn = self.steps_done % count
        if opponents[turn].steps_left <= 0:
            opponents[turn] = new(photos[:2], self.styles(photos[2:]))
        return opponents[turn]

    def save(self, state: Path, output: Path) -> None:
        """Write what is needed to go on, and the average as it is."""
        with replacing(state) as temporary:
            torch.save(
                {
                    "student": self.student.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "steps_done": self.steps_done,
                },
                temporary,
            )
        tensors = {k: v.half().contiguous() for k, v in self.average.state_dict().items()}
        steps = f"{self.steps_done} of {self.steps} steps of {PHOTOS} photographs"
        with replacing(output) as temporary:
            save_file(tensors, temporary, metadata={"licence": LICENCE, "trained": steps})

    def load(self, state: Path) -> None:
        """Take up what `save` wrote; the opponents begin anew."""
        saved = torch.load(state, weights_only=True)
        self.student.load_state_dict(saved["student"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.steps_done = saved["steps_done"]


@torch.no_grad()
def fit_student(vgg: VGG16, photos: Tensor) -> Slim:
    """Return a student whose layers are those of VGG16, as nearly as least squares give them.

    Each convolution is fitted to what VGG16 has before the rectifier in the channels that were
    chosen, and each map to VGG16's features in their principal directions.
    """
    student = Slim()
    ours, theirs = 4 * (photos - 0.45), 255 * photos - vgg.mean_rgb
    for layer, convolution in student.convolutions.items():
        if layer.endswith("_1") and layer != "relu1_1":
            ours, theirs = F.max_pool2d(ours, 2), F.max_pool2d(theirs, 2)
        before = vgg.convolutions[layer](theirs)
        theirs = F.relu(before)
        size = theirs.square().mean().sqrt()
        moments = second_moments(theirs)
        chosen = telling_channels(moments, CHANNELS[layer][1])
        weight, bias = least_squares(ours, before[:, chosen] / size, kernel=3)
        convolution.get_parameter("weight").copy_(weight)
        convolution.get_parameter("bias").copy_(bias)
        ours = F.relu(convolution(ours))
        if layer in SLIM_LAYERS:
            directions = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, : CHANNELS[layer][1]]
            student.basis(layer).copy_(directions * size)
            target = torch.einsum("nchw,cd->ndhw", theirs, directions.float() / size)
            weight, bias = least_squares(ours, target, kernel=1)
            student.maps.get_parameter(f"{layer}.weight").copy_(weight)
            student.maps.get_parameter(f"{layer}.bias").copy_(bias)
            error = relative(student.maps[layer](ours), target).mean()
            print(f"{layer}: fitted with a relative squared error of {error:.3f}", flush=True)
    return student


def second_moments(features: Tensor) -> Tensor:
    """Return (C, C), fp64: the mean products of the channels of (N, C, H, W)."""
    flat = features.transpose(0, 1).flatten(1)
    return (flat @ flat.T).double() / flat.shape[1]


def telling_channels(moments: Tensor, count: int) -> Tensor:
    """Return the channels from which the others can best be told: pivoted Cholesky."""
    rest = moments.clone()
    chosen: list[int] = []
    for _ in range(count):
        # The channel that explains most of all that is left, not only of itself.
        explained = rest.square().sum(0) / rest.diagonal().clamp_min(1e-9 * moments.trace())
        explained[chosen] = -1
        chosen.append(int(explained.argmax()))
        pivot = rest[:, chosen[-1]]
        rest = rest - torch.outer(pivot, pivot) / pivot[chosen[-1]]
    return torch.tensor(chosen)


def least_squares(inputs: Tensor, targets: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution that best takes inputs to targets, (N, C, H, W)."""
    rows, wanted = [], []
    for one, target in zip(inputs, targets, strict=True):
        patches = F.unfold(one[None], kernel, padding=kernel // 2)[0]
        places = torch.randperm(patches.shape[1])[:400]
        rows.append(F.pad(patches[:, places].T, (0, 1), value=1.0))
        wanted.append(target.flatten(1)[:, places].T)
    x, y = torch.cat(rows).double(), torch.cat(wanted).double()
    square = x.T @ x
    square.diagonal().add_(1e-4 * square.diagonal().mean())
    solution = torch.linalg.solve(square, x.T @ y).float()
    weight = solution[:-1].T.reshape(targets.shape[1], inputs.shape[1], kernel, kernel)
    return weight, solution[-1]


def photographs(folder: Path, first: int, steps: int) -> Iterator[Tensor]:
    """Yield the photographs of each step from `first` on, (PHOTOS, 3, S, S) in [0, 1]."""
    config = FolderDataConfig(
        path=str(folder), crop_px=CROP_PX, margin_px=0, min_crop_scale=0.3, heldout_images=0
    )
    data = open_data(config, seed=0)
    for images, _ in content_batches(
        data.train, PHOTOS, start=first * PHOTOS, end=steps * PHOTOS, workers=1
    ):
        yield to_unit_range(images)


def main() -> None:
    """Distil, showing how far it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("styles", type=Path)
    parser.add_argument("--weights", help="a file of VGG16 weights; otherwise cache or download")
    parser.add_argument("--steps", type=int, default=1300)
    parser.add_argument("--bf16", action="store_true", help="faster where the processor has it")
    parser.add_argument("--output", type=Path, default=Path("fst/losses/slim.safetensors"))
    parser.add_argument("--state", type=Path, default=Path("runs/slim.pt"))
    given = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    vgg = load_vgg16(given.weights, SLIM_LAYERS[-1]).to(memory_format=torch.channels_last)
    if given.state.exists():
        student = Slim()
        student.load_state_dict(torch.load(given.state, weights_only=True)["average"])
    else:
        few = photographs(given.photographs, 0, steps=64 // PHOTOS + 1)
        student = fit_student(vgg, torch.cat(list(few)))
    teacher = Teacher(vgg, student)
    student = student.to(memory_format=torch.channels_last)
    run = Distillation(teacher, student, Styles(given.styles), given.steps, given.bf16)
    if given.state.exists():
        run.load(given.state)
    bar = tqdm(total=given.steps, initial=run.steps_done, unit="step", dynamic_ncols=True)
    errors, started = [], time.perf_counter()
    with bar:
        for photos in photographs(given.photographs, run.steps_done, given.steps):
            errors.append(run.step(photos))
            bar.update()
            if run.steps_done % REPORT_EVERY == 0:
                rows = torch.stack(errors).mean(0).tolist()
                shown = "  ".join(
                    f"{what} " + "/".join(f"{value:.3f}" for value in row)
                    for what, row in zip(("photos", "painted", "optimised"), rows, strict=True)
                )
                rate = len(errors) / (time.perf_counter() - started)
                bar.write(f"{run.steps_done}/{given.steps} steps  {rate:.2f}/s  {shown}")
                errors, started = [], time.perf_counter()
            if run.steps_done % SAVE_EVERY == 0 or run.steps_done == given.steps:
                run.save(given.state, given.output)


if __name__ == "__main__":
    main()
