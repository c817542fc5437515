"""Configuration schemas: one dataclass a config group, one docstring a field.

Hydra composes `conf/train.yaml` over these and refuses unknown keys and wrong types; the
`__post_init__` checks below refuse impossible values. Nothing here imports torch, so a mistake in
the configuration is told in a second.
"""

import dataclasses
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

VGG16_LAYERS = tuple(
    f"relu{block}_{conv}"
    for block, convs in enumerate((2, 2, 3, 3, 3), 1)
    for conv in range(1, convs + 1)
)
"""Names of VGG16's thirteen rectified convolutions, from the picture down."""
SLIM_LAYERS = ("relu1_2", "relu2_2", "relu3_3")
"""Those of them that the small loss network of the package has."""
PRECISIONS = ("fp32", "bf16", "fp16")
"""What is computed in, as the configuration names it."""


def _at_least(key: str, value: float, minimum: float) -> None:
    if not (math.isfinite(value) and value >= minimum):
        raise ValueError(f"{key}={value} must be at least {minimum}")


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{key}={value} is unknown; choose one of {', '.join(known)}")


def _existing(key: str, path: str) -> None:
    if not path:  # Path("") would be the current folder
        raise ValueError(f"{key}= is empty")
    if not Path(path).exists():
        raise FileNotFoundError(f"{key}={path} does not exist (looked in {Path.cwd()})")


@dataclass
class NetworkConfig:
    """A transformer network: its name in `fst.network.NETWORKS`; other fields are its arguments."""

    name: str = MISSING

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of the network's constructor."""
        return {key: value for key, value in vars(self).items() if key != "name"}


@dataclass
class JohnsonConfig(NetworkConfig):
    """Johnson et al. 2016, supplementary material, table 1."""

    name: str = "johnson"
    width: int = 32
    """Channels of the first convolution; each of the two stride-2 ones doubles them."""
    residual_blocks: int = 5
    """Residual blocks at quarter resolution."""
    norm: str = "instance"
    """`instance` (Ulyanov et al. 2016) or the paper's `batch`."""
    upsample: str = "nearest"
    """`nearest` and a convolution (Odena et al. 2016) or the paper's `transposed` convolution."""
    output: str = "tanh"
    """How [0, 1] is reached: `tanh`, scaled and shifted, or `clamp` (foreign weights)."""

    def __post_init__(self) -> None:
        _at_least("network.width", self.width, 1)
        _at_least("network.residual_blocks", self.residual_blocks, 0)
        _one_of("network.norm", self.norm, ("instance", "batch"))
        _one_of("network.upsample", self.upsample, ("nearest", "transposed"))
        _one_of("network.output", self.output, ("tanh", "clamp"))


@dataclass
class FastConfig(NetworkConfig):
    """Our own: the same job at a fraction of the cost (see `fst.network.Fast`)."""

    name: str = "fast"
    width: int = 40
    """Channels of the residual blocks; more pays in long trainings, and costs."""
    residual_blocks: int = 4
    """Residual blocks at quarter resolution."""

    def __post_init__(self) -> None:
        _at_least("network.width", self.width, 8)
        _at_least("network.residual_blocks", self.residual_blocks, 0)


@dataclass
class LossConfig:
    """The perceptual loss: content, style and total variation, each with its weight."""

    name: str = MISSING
    content_layer: str = "relu3_3"
    """Layer at which content is compared."""
    content_weight: float = 1.0
    style_layers: list[str] = MISSING
    """Layers whose Gram matrices are compared."""
    style_layer_weights: list[float] = field(default_factory=list)
    """One weight a style layer, their mean taken as one; empty means all alike."""
    style_weight: float = MISSING
    style_levels: int = 1
    """Pyramid levels (full size, half, quarter ...) at which the style is compared."""
    tv_weight: float = MISSING
    """Weight of the total variation."""

    def __post_init__(self) -> None:
        _one_of("loss.content_layer", self.content_layer, VGG16_LAYERS)
        if not self.style_layers:
            raise ValueError(f"loss.style_layers is empty; name some of {', '.join(VGG16_LAYERS)}")
        for layer in self.style_layers:
            _one_of("loss.style_layers", layer, VGG16_LAYERS)
        if len(set(self.style_layers)) < len(self.style_layers):
            raise ValueError(f"loss.style_layers={self.style_layers} names a layer twice")
        _at_least("loss.content_weight", self.content_weight, 0)
        _at_least("loss.style_weight", self.style_weight, 0)
        _at_least("loss.tv_weight", self.tv_weight, 0)
        _at_least("loss.style_levels", self.style_levels, 1)
        weights = self.style_layer_weights
        if weights and (
            len(weights) != len(self.style_layers)
            or not all(math.isfinite(weight) and weight >= 0 for weight in weights)
            or sum(weights) <= 0
        ):
            raise ValueError(
                f"loss.style_layer_weights={weights} must hold one weight of at least 0 for each "
                f"of {', '.join(self.style_layers)}, not all 0"
            )


@dataclass
class RelativeLossConfig(LossConfig):
    """Every term divided by what it is measured against: the weights fit every style."""

    name: str = "relative"
    style_layers: list[str] = field(default_factory=lambda: ["relu1_2", "relu2_2", "relu3_3"])
    style_weight: float = 5.0
    style_levels: int = 3
    tv_weight: float = 0.02


@dataclass
class JohnsonLossConfig(LossConfig):
    """Johnson et al. 2016, section 3.2, with the weights of the official code."""

    name: str = "johnson"
    style_layers: list[str] = field(
        default_factory=lambda: ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    )
    style_weight: float = 5.0
    tv_weight: float = 4e-6
    """Theirs is 1e-6 over the sum of a batch of 4; ours is over the mean."""


@dataclass
class GatysLossConfig(LossConfig):
    """Gatys et al. 2016, with their layers and one of their two ratios of weights."""

    name: str = "gatys"
    content_layer: str = "relu4_2"
    style_layers: list[str] = field(
        default_factory=lambda: ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    )
    style_weight: float = 1e4
    tv_weight: float = 0.0


@dataclass
class LossNetworkConfig:
    """The frozen network in whose features pictures are compared."""

    name: str = MISSING
    layers: ClassVar[tuple[str, ...]]
    """What it can compare at."""


@dataclass
class Vgg16Config(LossNetworkConfig):
    """VGG16 itself, as everybody has it."""

    name: str = "vgg16"
    layers = VGG16_LAYERS
    weights: str | None = None
    """A file of VGG16 weights; null takes the cache, else downloads them there (528 MB once)."""
    verify: bool = True
    """Refuse weights that are not the published Oxford ones (conv1_1 to conv3_3 are checked)."""

    def __post_init__(self) -> None:
        if self.weights is not None:
            _existing("loss_network.weights", self.weights)


@dataclass
class SlimConfig(LossNetworkConfig):
    """VGG16 distilled to a fraction of its work, in the package (see `fst.slim.Slim`)."""

    name: str = "slim"
    layers = SLIM_LAYERS


@dataclass
class DataConfig:
    """Content photographs, and how a training crop is cut from one."""

    kind: str = MISSING
    path: str = MISSING
    crop_px: int = 256
    """Side of the square training crops."""
    min_crop_scale: float = 0.5
    """The crop's side before resizing, at least, as a share of the picture's shorter side."""
    workers: int = 2
    """Processes that decode pictures (0: in the main process)."""
    heldout_path: str | None = None
    """A folder of pictures to judge by; null holds some of the training pictures out."""
    heldout_images: int = 8
    """How many pictures are held out."""
    heldout_px: int = 256
    """Side of the held-out pictures, which are cut square from the middle."""

    def __post_init__(self) -> None:
        _at_least("data.crop_px", self.crop_px, 16)
        _at_least("data.workers", self.workers, 0)
        _at_least("data.heldout_images", self.heldout_images, 0)
        _at_least("data.heldout_px", self.heldout_px, 32)
        if not 0 < self.min_crop_scale <= 1:
            raise ValueError(f"data.min_crop_scale={self.min_crop_scale} must be in (0, 1]")
        if self.heldout_path is not None:
            _existing("data.heldout_path", self.heldout_path)


@dataclass
class FolderDataConfig(DataConfig):
    """A folder of pictures, nested in any way."""

    kind: str = "folder"

    def __post_init__(self) -> None:
        super().__post_init__()
        _existing("data.path", self.path)
        if not Path(self.path).is_dir():
            raise ValueError(f"data.path={self.path} is no folder of pictures (data=parquet?)")


@dataclass
class ParquetDataConfig(DataConfig):
    """Local parquet files that hold the pictures: a file, a folder or a glob."""

    kind: str = "parquet"
    image_column: str = "image"


@dataclass
class CocoDataConfig(DataConfig):
    """COCO from the Hugging Face Hub, or any dataset repository of parquet files there."""

    kind: str = "coco"
    path: str = "detection-datasets/coco"
    files: str = "data/train-*"
    """Which of the repository's files; data/train-0000[0-3]* takes a tenth of COCO (2 GB)."""
    image_column: str = "image"


@dataclass
class OptimizerConfig:
    """Adam (Kingma & Ba 2015): linear warm-up, cosine decay to zero, both counted in images."""

    name: str = "adam"
    learning_rate: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.99
    warmup_fraction: float = 0.05
    """Share of `training.images` over which the learning rate rises."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; longer ones are scaled down to it."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"optimizer.learning_rate={self.learning_rate} must be above 0")
        for name in ("beta1", "beta2", "warmup_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"optimizer.{name}={getattr(self, name)} must be in [0, 1)")
        if not self.clip_norm > 0:
            raise ValueError(f"optimizer.clip_norm={self.clip_norm} must be above 0")


@dataclass
class StyleConfig:
    """The style picture."""

    picture: str = MISSING
    size_px: int = 256
    """Its shorter side when its Gram matrices are taken: larger gives larger strokes."""
    title: str | None = None
    """Kept in the model file; null takes the picture's file name."""

    def __post_init__(self) -> None:
        _existing("style.picture", self.picture)
        _at_least("style.size_px", self.size_px, 32)
        self.title = self.title or Path(self.picture).stem


@dataclass
class TrainingConfig:
    """How long to train and how to run."""

    images: int = 160_000
    """Images to see in all (rounded up to whole batches)."""
    batch_size: int = 4
    """Images a step, over all processes."""
    report_every: int = 200
    """Images between two lines of `metrics.jsonl`."""
    save_every: int = 2_000
    """Images between two saves, each with the held-out losses and pictures."""
    ema_half_life: int = 400
    """Images after which a weight counts half in the moving average that becomes the model."""
    precision: str = "fp32"
    """`fp32` (TF32 on GPUs that have it), or autocast to `bf16` or `fp16`."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cuda`, `cuda:1`, `mps`, `cpu` ..."""
    compile: bool | None = None
    """`torch.compile` the networks; null does so on CUDA alone."""

    def __post_init__(self) -> None:
        for name in ("images", "batch_size", "report_every", "save_every", "ema_half_life"):
            _at_least(f"training.{name}", getattr(self, name), 1)
        _one_of("training.precision", self.precision, PRECISIONS)


@dataclass
class TrainConfig:
    """Everything that `fst train` takes."""

    network: NetworkConfig = MISSING
    loss: LossConfig = MISSING
    loss_network: LossNetworkConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    style: StyleConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    name: str | None = None
    """The run's name; null takes the style's title."""
    runs_dir: str = "runs"
    seed: int = 0
    """Sets the first weights and the order and crops of the pictures."""
    init: str | None = None
    """A trained model of the same network to start from: its name, run folder or file."""

    def __post_init__(self) -> None:
        _seed(self.seed)
        for group in ("network", "loss", "loss_network", "optimizer"):
            _chosen(group, getattr(self, group))
        if self.data.kind != type(self.data).kind:
            raise ValueError(f"data.kind={self.data.kind} is no setting: data=... chooses")
        _fitting(self.loss, self.loss_network)
        if self.init == "":
            raise ValueError("init= is empty")
        smallest_px = min(self.data.crop_px, self.data.heldout_px, self.style.size_px)
        _large_enough(smallest_px, self.loss, "data.crop_px and style.size_px")
        self.name = self.name or self.style.title
        _inside(self.runs_dir, self.name)

    @property
    def run_dir(self) -> Path:
        """The folder that the run writes to."""
        return Path(self.runs_dir) / str(self.name)


@dataclass
class OptimizeConfig:
    """Everything that `fst optimize` takes."""

    loss: LossConfig = MISSING
    loss_network: LossNetworkConfig = MISSING
    content: str = MISSING
    """The photograph."""
    styles: list[str] = MISSING
    """The style pictures; `style=PICTURE` is short for `styles=[PICTURE]`."""
    style_shares: list[float] = field(default_factory=list)
    """How much of each style picture, their sum taken as one; empty means all alike."""
    style_scale: float = 1.0
    """The style's shorter side against the result's: larger gives larger strokes."""
    size_px: int = 512
    """The result's shorter side."""
    coarsest_px: int | None = None
    """Shorter side to start at, doubled until `size_px`; null takes 128, or `size_px` where `init`
    is a picture or a model."""
    init: str = "content"
    """Where to start: `content`, `noise`, a picture, or a model, whose result is taken."""
    method: str = "lbfgs"
    """`lbfgs` or `adam`."""
    learning_rate: float = 0.02
    """Adam's."""
    iterations: int = 150
    """At each size, at most."""
    tolerance: float = 1e-3
    """Go on to the next size when ten iterations lower the total by less than this share of it."""
    report_every: int = 10
    """Iterations between two reports, each with the picture as it is."""
    precision: str = "fp32"
    """`fp32` (TF32 on GPUs that have it), or autocast to `bf16` or `fp16`."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cuda`, `cuda:1`, `mps`, `cpu` ..."""
    name: str | None = None
    """The run's name; null takes those of the content and the styles."""
    runs_dir: str = "runs"
    output: str | None = None
    """The file of the result; null puts `stylized.png` into the run folder."""
    overwrite: bool = False
    """Replace a result that exists."""
    seed: int = 0
    """Sets the noise that `init=noise` starts from."""

    def __post_init__(self) -> None:
        _existing("content", self.content)
        if not self.styles:
            raise ValueError("styles=[] is empty: name a picture, or several")
        for picture in self.styles:
            _existing("style", picture)
        shares = self.style_shares
        if shares and (
            len(shares) != len(self.styles)
            or not all(math.isfinite(share) and share >= 0 for share in shares)
            or sum(shares) <= 0
        ):
            raise ValueError(
                f"style_shares={shares} must hold one share of at least 0 for each of the "
                f"{len(self.styles)} style picture(s), not all 0"
            )
        for group in ("loss", "loss_network"):
            _chosen(group, getattr(self, group))
        _fitting(self.loss, self.loss_network)
        _one_of("method", self.method, ("lbfgs", "adam"))
        _one_of("precision", self.precision, PRECISIONS)
        _seed(self.seed)
        _at_least("size_px", self.size_px, 32)
        _at_least("iterations", self.iterations, 1)
        _at_least("report_every", self.report_every, 1)
        _at_least("tolerance", self.tolerance, 0)
        for key in ("learning_rate", "style_scale"):
            if not (math.isfinite(getattr(self, key)) and getattr(self, key) > 0):
                raise ValueError(f"{key}={getattr(self, key)} must be above 0")
        if self.coarsest_px is None:
            fresh = self.init in ("content", "noise")
            self.coarsest_px = min(128, self.size_px) if fresh else self.size_px
        if not 32 <= self.coarsest_px <= self.size_px:
            raise ValueError(
                f"coarsest_px={self.coarsest_px} must be in [32, size_px={self.size_px}]"
            )
        smallest_px = round(min(1, self.style_scale) * self.sizes_px[0])
        _large_enough(smallest_px, self.loss, "coarsest_px and style_scale")
        self.name = self.name or "+".join(Path(p).stem for p in (self.content, *self.styles))
        _inside(self.runs_dir, self.name)

    @property
    def sizes_px(self) -> list[int]:
        """The shorter sides, from coarse to fine: `size_px` halved as often as it may be."""
        sizes = [self.size_px]
        while sizes[0] // 2 >= (self.coarsest_px or self.size_px):
            sizes.insert(0, sizes[0] // 2)
        return sizes

    @property
    def run_dir(self) -> Path:
        """The folder that the run writes to."""
        return Path(self.runs_dir) / str(self.name)


def _seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed} must be in [0, 2^63), as generators take it")


def _chosen(group: str, chosen: Any) -> None:
    if chosen.name != type(chosen).name:
        raise ValueError(f"{group}.name={chosen.name} is no setting: {group}={chosen.name} chooses")


def _fitting(loss: LossConfig, loss_network: LossNetworkConfig) -> None:
    if loss.name in ("johnson", "gatys") and loss_network.name == "slim":
        raise ValueError(
            f"loss={loss.name} compares at {max(loss.style_layers)} and divides by the number of "
            "VGG16's channels; loss_network=slim has neither: take loss=relative, or "
            "loss_network=vgg16"
        )
    for layer in (loss.content_layer, *loss.style_layers):
        if layer not in loss_network.layers:
            raise ValueError(
                f"loss={loss.name} compares at {layer}, but loss_network={loss_network.name} has "
                f"only {', '.join(loss_network.layers)}: take those, or loss_network=vgg16"
            )


def _large_enough(smallest_px: int, loss: LossConfig, larger: str) -> None:
    poolings = max(int(layer[4]) for layer in loss.style_layers) - 1  # reluB_C: block B
    if smallest_px >> (loss.style_levels - 1) < 2**poolings:
        raise ValueError(
            f"loss.style_levels={loss.style_levels} halves pictures of {smallest_px} px to fewer "
            f"than VGG16's {poolings} poolings need: take fewer levels, or larger {larger}"
        )


def _inside(runs_dir: str, name: str | None) -> None:
    if not runs_dir:
        raise ValueError("runs_dir= is empty")
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"name={name} must name a folder inside {runs_dir}/")


SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "optimize": OptimizeConfig,
    "network/johnson": JohnsonConfig,
    "network/fast": FastConfig,
    "loss/relative": RelativeLossConfig,
    "loss/gatys": GatysLossConfig,
    "loss/johnson": JohnsonLossConfig,
    "loss_network/vgg16": Vgg16Config,
    "loss_network/slim": SlimConfig,
    "data/folder": FolderDataConfig,
    "data/parquet": ParquetDataConfig,
    "data/coco": CocoDataConfig,
    "optimizer/adam": OptimizerConfig,
    "style/picture": StyleConfig,
}


def register_schemas() -> None:
    """Put every schema into Hydra's store, under `schema/`, for the files of `conf/` to extend.

    `${packaged:FILE}` in those files is the path of a file that lies beside them.
    """
    OmegaConf.register_new_resolver(
        "packaged", lambda name: str(resources.files("fst.conf") / name), replace=True
    )
    for path, schema in SCHEMAS.items():
        group, _, name = f"schema/{path}".rpartition("/")
        ConfigStore.instance().store(group=group, name=name, node=schema)


def refuse_unknown(config: Any, command: str, prefix: str = "") -> None:
    """Raise ValueError on a key that no schema has: Hydra's `+key=value` would let it in."""
    known = {entry.name for entry in dataclasses.fields(config)}
    for name, value in vars(config).items():
        if name not in known:
            raise ValueError(unknown_key(prefix + name, command))
        if dataclasses.is_dataclass(value):
            refuse_unknown(value, command, f"{prefix}{name}.")


def unknown_key(key: str, command: str) -> str:
    """Return a line that says that `command` has no such key, and which one may be meant."""
    groups = {entry.name for entry in dataclasses.fields(SCHEMAS[command])}
    schemas = {
        path: schema
        for path, schema in {**SCHEMAS, "training/": TrainingConfig}.items()
        if path == command or path.partition("/")[0] in groups
    }
    known = {
        f"{path.partition('/')[0]}.{entry.name}".removeprefix(f"{command}.")
        for path, schema in schemas.items()
        for entry in dataclasses.fields(schema)
    }
    close = difflib.get_close_matches(key, known, n=1)
    shows = f"`fst {command} ... --cfg job` shows all keys"
    return f"{key} is unknown: {f'did you mean {close[0]}?' if close else shows}"


def to_yaml(config: TrainConfig | OptimizeConfig) -> str:
    """Return the configuration as YAML, every value written out."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
