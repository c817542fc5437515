"""The resumable state: validation of what a file holds, and hashes of the run's inputs."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class UnfitStateError(Exception):
    """A state without the form of the run's own; the message names the entry."""


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a hash of the tensors' values, by which a resumed run recognizes its inputs."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_state(
    state: dict[str, Any], fresh: dict[str, Any], optimizers: Mapping[str, Optimizer]
) -> None:
    """Raise UnfitStateError unless a state has the form of a fresh one, and finite values.

    Args:
        state: the state that was read from a file.
        fresh: the state of a run that has not started.
        optimizers: by the keys of their states.
    """
    _check_like("state", state, fresh)
    counts = (state["seen_images"], state["skipped_steps"], state["meter"]["steps"])
    if min(*counts, state.get("images", 0)) < 0:
        raise UnfitStateError("seen_images, images, skipped_steps or meter.steps")
    for name, kind in (
        ("heldout_terms", float),
        ("heldout_totals", float),
        ("skipped", str),
        ("inputs", str),
    ):
        _check_values(name, state[name], kind)
    sums = state["meter"]["sums"]
    _check_values("meter.sums", sums, Tensor)
    _check_like("meter.sums", sums, dict.fromkeys(sums, torch.zeros(())))
    for name, optimizer in optimizers.items():
        _check_optimizer(f"{name}.state", state[name]["state"], optimizer)
    for name in fresh.keys() - {"heldout_terms", "heldout_totals"}:
        _check_finite(name, state[name])
    try:
        torch.Generator().set_state(state["rng"])
    except RuntimeError as error:
        raise UnfitStateError("rng") from error


def _check_optimizer(name: str, found: dict[Any, Any], optimizer: Optimizer) -> None:
    """Compare what an optimizer keeps of its parameters, if there is any, with its first step's."""
    if not found:
        return
    groups = [
        {**group, "params": [torch.zeros_like(each) for each in group["params"]]}
        for group in optimizer.param_groups
    ]
    kind: Any = type(optimizer)  # whose arguments are those of its groups
    other = kind(groups)
    for parameter in (each for group in groups for each in group["params"]):
        parameter.grad = torch.zeros_like(parameter)
    other.step()
    expected = other.state_dict()["state"]
    if list(found) != list(expected):
        raise UnfitStateError(name)
    for index, entry in expected.items():
        _check_like(f"{name}.{index}", found[index], entry)


def _check_like(name: str, found: Any, fresh: Any) -> None:
    """Compare types, keys, lengths, shapes and dtypes, not values."""
    filled_later = isinstance(fresh, dict) and not fresh
    if type(found) is not type(fresh) or not (filled_later or _extent(found) == _extent(fresh)):
        raise UnfitStateError(name)
    if isinstance(fresh, dict):
        for key, value in fresh.items():
            _check_like(f"{name}.{key}", found[key], value)
    elif isinstance(fresh, list | tuple):
        for index, value in enumerate(fresh):
            _check_like(f"{name}.{index}", found[index], value)


def _extent(value: Any) -> Any:
    """Return what two values of the same form share besides their type."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.layout, value.is_meta
    if isinstance(value, dict):
        return value.keys()
    return len(value) if isinstance(value, list | tuple) else None


def _check_finite(name: str, found: Any) -> None:
    if isinstance(found, dict | list | tuple):
        for value in found.values() if isinstance(found, dict) else found:
            _check_finite(name, value)
    elif not (
        found.isfinite().all()
        if isinstance(found, Tensor)
        else not isinstance(found, float) or math.isfinite(found)
    ):
        raise UnfitStateError(name)


def _check_values(name: str, found: dict[Any, Any], kind: type) -> None:
    if not all(isinstance(key, str) and isinstance(value, kind) for key, value in found.items()):
        raise UnfitStateError(name)
