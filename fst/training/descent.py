"""A network on its way down a loss: its optimizer, its precision, its copies in all processes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fst.config import OptimizerConfig
from fst.device import prepare_compiler
from fst.errors import UserError
from fst.training.distributed import World


class Descent:
    """Adam's steps on a network; a step whose gradient is not finite is skipped."""

    def __init__(
        self,
        network: nn.Module,
        config: OptimizerConfig,
        precision: str,
        world: World,
        device: torch.device,
        compiles: bool,
    ) -> None:
        """Take a network, and move it to its device.

        Args:
            network: what is trained, where its parameters require gradients.
            config: of the optimizer.
            precision: `fp32`, `bf16` or `fp16`, of the passes through the network.
            world: the processes that share its gradients.
            device: where it is trained.
            compiles: compile its passes.

        Raises:
            UserError: it has batch norm, and there are several processes.
        """
        has_batch_norm = any(isinstance(each, nn.BatchNorm2d) for each in network.modules())
        if has_batch_norm and world.size > 1:
            raise UserError(
                "batch norm normalises over one process's batch: train this network on one process"
            )
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.precision = precision
        self.clip_norm = config.clip_norm
        self.optimizer = torch.optim.Adam(
            [each for each in network.parameters() if each.requires_grad],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=device.type == "cuda",
        )
        self.scaler = torch.amp.GradScaler(
            device.type,
            init_scale=2**12,  # the default of 2**16 overflows, and so skips, the first steps
            enabled=precision == "fp16",
        )
        self.parallel: nn.Module = self.network
        """What to call in a step: the network, whose gradients all processes then share."""
        if world.size > 1:
            self.parallel = DistributedDataParallel(
                self.network, device_ids=[device] if device.type == "cuda" else None
            )
        if compiles:
            prepare_compiler(device)
            self.parallel.compile()

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @property
    def rate(self) -> float:
        """The learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def overflows(self) -> bool:
        """Whether gradients overflow now and then, whatever the pictures, as those in fp16."""
        return self.scaler.is_enabled()

    def step(self, loss: Tensor) -> Tensor | None:
        """Take a step down a loss, a scalar; return the gradient's norm, None if not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        finite = bool(norm.isfinite())  # in all processes, as they share their gradients
        if finite:
            self.scaler.step(self.optimizer)
        if finite or self.overflows:
            self.scaler.update()
        return norm if finite else None

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, with the settings of this configuration."""
        self.network.load_state_dict(state["network"])
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
        self.scaler.load_state_dict(state["scaler"])
