"""The schemas by their paths in Hydra's store, and messages about unknown keys."""

import dataclasses
import difflib
import re
from importlib import resources
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fst.config.data import CocoDataConfig, FolderDataConfig, ParquetDataConfig
from fst.config.loss import LOSSES
from fst.config.loss_network import SlimConfig, Vgg16Config
from fst.config.network import NETWORKS
from fst.config.optimize import OptimizeConfig
from fst.config.style import AnyStyleConfig, PictureConfig, PicturesConfig, WorksConfig
from fst.config.training import OptimizerConfig, RunConfig, TrainConfig
from fst.config.upscaling import (
    UPSCALERS,
    PerceptualLossConfig,
    PixelLossConfig,
    TrainUpscalerConfig,
)
from fst.errors import UserError, one_line

SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "train-upscaler": TrainUpscalerConfig,
    "optimize": OptimizeConfig,
    **{f"network/{name}": settings for name, settings in NETWORKS.items()},
    **{f"loss/{name}": settings for name, settings in LOSSES.items()},
    "loss_network/vgg16": Vgg16Config,
    "loss_network/slim": SlimConfig,
    "data/folder": FolderDataConfig,
    "data/parquet": ParquetDataConfig,
    "data/coco": CocoDataConfig,
    "optimizer/adam": OptimizerConfig,
    "style/picture": PictureConfig,
    "style/works": WorksConfig,
    "style/pictures": PicturesConfig,
    "style/any": AnyStyleConfig,
    **{
        f"upscaling/network/{name.removesuffix('_upscaler')}": settings
        for name, settings in UPSCALERS.items()
    },
    "upscaling/loss/pixel": PixelLossConfig,
    "upscaling/loss/perceptual": PerceptualLossConfig,
}


def register_schemas() -> None:
    """Put every schema into Hydra's store, as a choice of its group.

    One that has a file in `conf/` is put under `schema/` instead, for that file to extend.
    `${packaged:FILE}` in those files is the path of a file beside them.
    """
    OmegaConf.register_new_resolver(
        "packaged", lambda name: str(resources.files("fst.conf") / name), replace=True
    )
    for path, schema in SCHEMAS.items():
        has_file = (resources.files("fst.conf") / f"{path}.yaml").is_file()
        group, _, name = (f"schema/{path}" if has_file else path).rpartition("/")
        ConfigStore.instance().store(group=group, name=name, node=schema)


def literal(text: str) -> str:
    """Return a text as OmegaConf takes it to mean itself, whatever `${...}` it contains."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)


def _literal(value: Any) -> Any:
    """Return nested lists and dicts with every text in them as a literal one."""
    if isinstance(value, dict):
        return {key: _literal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_literal(one) for one in value]
    return literal(value) if isinstance(value, str) else value


def from_untrusted(path: str, values: dict[str, Any]) -> Any:
    """Return the configuration of `SCHEMAS[path]` with values that anyone may have written.

    Raises:
        UserError: there is no such schema, or a value is unknown, of a wrong type or out of range.
    """
    try:
        schema = SCHEMAS[path]
        # Or OmegaConf would fill in environment variables.
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), _literal(values)))
    except (KeyError, OmegaConfBaseException) as error:
        raise UserError(f"unknown {path}: {one_line(error)}") from error


def refuse_unknown(config: Any, command: str, prefix: str = "") -> None:
    """Raise UserError on a key that no schema has: Hydra's `+key=value` would accept it."""
    known = {entry.name for entry in dataclasses.fields(config)}
    for name, value in vars(config).items():
        if name not in known:
            raise UserError(unknown_key(prefix + name, command))
        if dataclasses.is_dataclass(value):
            refuse_unknown(value, command, f"{prefix}{name}.")


def unknown_key(key: str, command: str) -> str:
    """Return a line that says that `command` has no such key, and suggests what was meant."""
    group, _, setting = key.rpartition(".")
    having = [
        f"{group}={path.rpartition('/')[2]}"
        for path, schema in _choices(group, command).items()
        if setting in _field_names(schema)
    ]
    if having:  # the group is set to another of its choices
        return f"{key} is unknown: it exists only with {' or '.join(having)}"
    # A group's name is chosen by the group: `loss=johnson`, not `loss.name=johnson`.
    settable = [
        known
        for known in setting_keys(command) | nested_keys(command)
        if not known.endswith(".name")
    ]
    close = difflib.get_close_matches(key, settable, n=1)
    shows = f"`fst {command} ... --cfg job` shows all keys"
    return f"{key} is unknown: {f'did you mean {close[0]}?' if close else shows}"


def likely_keys(name: str, command: str) -> list[str]:
    """Return the keys of `command` that end in `name` (`style_weight`), or in a similar one."""
    by_end: dict[str, list[str]] = {}
    for key in sorted(setting_keys(command) | nested_keys(command)):
        by_end.setdefault(key.rpartition(".")[2], []).append(key)
    close = difflib.get_close_matches(name, by_end, n=1)
    return by_end[close[0]] if close else []


def setting_keys(command: str) -> set[str]:
    """Return the keys of `command`, those of every choice of its groups included."""
    keys = set()
    for entry in dataclasses.fields(SCHEMAS[command]):
        schemas = [*_choices(entry.name, command).values()]
        if isinstance(entry.type, type) and dataclasses.is_dataclass(entry.type):
            schemas.append(entry.type)
        else:
            keys.add(entry.name)
        keys |= {f"{entry.name}.{name}" for schema in schemas for name in _field_names(schema)}
    return keys


def nested_keys(command: str) -> set[str]:
    """Return the keys of `command` that hold settings of their own."""
    return {
        entry.name
        for entry in dataclasses.fields(SCHEMAS[command])
        if dataclasses.is_dataclass(entry.type)
    }


def _choices(group: str, command: str) -> dict[str, type]:
    """Return the schemas that a command's group can be set to, by their paths."""
    types = {entry.name: entry.type for entry in dataclasses.fields(SCHEMAS[command])}
    base = types.get(group)
    return {
        path: schema
        for path, schema in SCHEMAS.items()
        if isinstance(base, type) and path.rpartition("/")[0] and issubclass(schema, base)
    }


def _field_names(schema: type) -> set[str]:
    return {entry.name for entry in dataclasses.fields(schema)}


def to_yaml(config: RunConfig | OptimizeConfig) -> str:
    """Return the configuration as YAML, every value written out."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
