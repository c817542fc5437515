"""A model on its device: what stylizing and enlarging have in common."""

import torch
from torch import Tensor

from fst.errors import UserError
from fst.models.exported import ExportedNetwork
from fst.models.model_info import ModelInfo
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler


class RunningModel:
    """A network on its device, in its dtype, with its metadata."""

    def __init__(
        self,
        network: TransformerNetwork | Upscaler | ExportedNetwork,
        info: ModelInfo,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Move a network to the device and the dtype; an exported one has its own.

        Args:
            network: what makes the pictures.
            info: its metadata.
            device: where.
            dtype: of its weights.
        """
        if isinstance(network, ExportedNetwork):
            self.engine = network.engine
        else:
            network.eval().to(device, dtype).to(memory_format=torch.channels_last)
            self.engine = f"torch {str(dtype).removeprefix('torch.')} on {device}"
        self.network = network
        self.compiled = False
        self.info = info
        self.device = device
        self.dtype = dtype

    @property
    def workers(self) -> int:
        """The number of threads that should call this at once for a video's frames.

        On a CPU two threads, each with half of torch's threads, finish more frames than one with
        all of them. Compiled code has a fixed number of threads, and exported models their own.
        """
        eager = not isinstance(self.network, ExportedNetwork) and not self.compiled
        return 2 if eager and self.device.type == "cpu" and torch.get_num_threads() > 1 else 1

    def check_finite(self, result: Tensor) -> None:
        """Raise UserError if a result, values in [0, 1], has any that are NaN or infinite."""
        # The sum of values in [0, 1] is finite, and much cheaper than looking at each.
        if not torch.isfinite(result.sum(dtype=torch.float32)):
            way_out = "" if self.dtype == torch.float32 else ", or try dtype fp32"
            raise UserError(f"the result is not finite: the model may be damaged{way_out}")
