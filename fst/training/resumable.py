"""The resumable state: validation of what a file holds, and hashes of the run's inputs."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class UnfitStateError(Exception):
    """A state without the form of the run's own; the message names the entry."""


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a hash of the tensors' values, by which a resumed run recognizes its inputs."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_state(state: dict[str, Any], fresh: dict[str, Any], parameters: Sequence[Tensor]) -> None:
    """Raise UnfitStateError unless a state has the form of a fresh one.

    Args:
        state: the state that was read from a file.
        fresh: the state of a run that has not started.
        parameters: the optimizer's parameters, in its order.
    """
    _check_like("state", state, fresh)
    counts = (state["seen_images"], state["skipped_steps"], state["meter"]["steps"])
    if min(counts) < 0:
        raise UnfitStateError("seen_images, skipped_steps or meter.steps")
    of_floats = (("heldout_terms", float), ("heldout_totals", float))
    for name, kind in (*of_floats, ("skipped", str), ("inputs", str)):
        if name in fresh:
            _check_values(name, state[name], kind)
    sums = state["meter"]["sums"]
    _check_values("meter.sums", sums, Tensor)
    _check_like("meter.sums", sums, dict.fromkeys(sums, torch.zeros(())))
    moments = state["optimizer"]["state"]
    if moments and list(moments) != list(range(len(parameters))):
        raise UnfitStateError("optimizer.state")
    for index, parameter in enumerate(parameters if moments else []):
        like = parameter.detach()
        adam = {"step": torch.zeros(()), "exp_avg": like, "exp_avg_sq": like}
        _check_like(f"optimizer.state.{index}", moments[index], adam)
    for name in ("seconds", "network", "ema", "optimizer", "style_weight", "meter"):
        if name in fresh:
            _check_finite(name, state[name])
    try:
        torch.Generator().set_state(state["rng"])
    except RuntimeError as error:
        raise UnfitStateError("rng") from error


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
