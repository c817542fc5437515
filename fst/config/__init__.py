"""Configuration schemas: one dataclass per group, one docstring per field.

Hydra composes `conf/train.yaml` over these and refuses unknown keys and wrong types; the
`__post_init__` checks below refuse impossible values. Nothing here imports torch, so a mistake in
the configuration is reported within a second.
"""

from fst.config.checks import (
    LARGEST_WIDTH,
)
from fst.config.data import (
    CocoDataConfig,
    DataConfig,
    FolderDataConfig,
    ParquetDataConfig,
)
from fst.config.loss import (
    LOSSES,
    GatysLossConfig,
    JohnsonLossConfig,
    LossConfig,
    MomentsLossConfig,
    RelativeLossConfig,
    large_enough,
)
from fst.config.loss_network import (
    SLIM_CHANNELS,
    SLIM_LAYERS,
    VGG16_LAYERS,
    LossNetworkConfig,
    Padding,
    SlimConfig,
    Vgg16Config,
)
from fst.config.network import (
    NETWORKS,
    AnyNetworkConfig,
    FastConfig,
    JohnsonConfig,
    NetworkConfig,
)
from fst.config.optimize import (
    OptimizeConfig,
)
from fst.config.schemas import (
    SCHEMAS,
    from_untrusted,
    likely_keys,
    literal,
    nested_keys,
    refuse_unknown,
    register_schemas,
    setting_keys,
    to_yaml,
    unknown_key,
)
from fst.config.style import (
    PREDICTOR_PX,
    AnyStyleConfig,
    OneStyleConfig,
    PictureConfig,
    PicturesConfig,
    StyleConfig,
    WorksConfig,
)
from fst.config.training import (
    PRECISIONS,
    RUNS_DIR,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
    TrainingConfig,
)
from fst.config.upscaling import (
    DEGRADATIONS,
    LARGEST_FACTOR,
    UPSCALERS,
    FastUpscalerConfig,
    JohnsonUpscalerConfig,
    PerceptualLossConfig,
    PixelLossConfig,
    TrainUpscalerConfig,
    UpscalerConfig,
    UpscalingLossConfig,
)

__all__ = [
    "AnyNetworkConfig",
    "AnyStyleConfig",
    "DEGRADATIONS",
    "LARGEST_FACTOR",
    "LARGEST_WIDTH",
    "LOSSES",
    "CocoDataConfig",
    "DataConfig",
    "FastConfig",
    "FastUpscalerConfig",
    "FolderDataConfig",
    "GatysLossConfig",
    "JohnsonConfig",
    "JohnsonLossConfig",
    "JohnsonUpscalerConfig",
    "LossConfig",
    "LossNetworkConfig",
    "MomentsLossConfig",
    "NETWORKS",
    "NetworkConfig",
    "OptimizeConfig",
    "OptimizerConfig",
    "PRECISIONS",
    "PREDICTOR_PX",
    "Padding",
    "ParquetDataConfig",
    "PerceptualLossConfig",
    "PictureConfig",
    "OneStyleConfig",
    "PicturesConfig",
    "WorksConfig",
    "PixelLossConfig",
    "RUNS_DIR",
    "RelativeLossConfig",
    "RunConfig",
    "SCHEMAS",
    "SLIM_CHANNELS",
    "SLIM_LAYERS",
    "ScheduleConfig",
    "SlimConfig",
    "StyleConfig",
    "TrainConfig",
    "TrainUpscalerConfig",
    "TrainingConfig",
    "UPSCALERS",
    "UpscalerConfig",
    "UpscalingLossConfig",
    "VGG16_LAYERS",
    "Vgg16Config",
    "from_untrusted",
    "large_enough",
    "likely_keys",
    "literal",
    "nested_keys",
    "refuse_unknown",
    "register_schemas",
    "setting_keys",
    "to_yaml",
    "unknown_key",
]
