"""Losses whose terms are divided by the size of their targets.

A weight then means the same for every style, every layer and either scale of VGG16 weights: a grey
picture has a content and a style term of about 1. This departs from Johnson et al., whose terms
span six orders of magnitude between layers and styles.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.losses.perceptual import PerceptualLoss
from fst.losses.statistics import BLANK, moments, relative_distance, standardise


class RelativeLoss(PerceptualLoss):
    """Johnson's features and Gatys' Gram matrices, relative to their targets."""

    def content_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |F(y) - F(x)|^2 / |F(x)|^2."""
        return relative_distance(statistic, target)

    def style_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |G(y) - G(s)|^2 / |G(s)|^2."""
        return relative_distance(statistic, target)


class MomentsLoss(RelativeLoss):
    """Style is the features' mean and covariance, each relative; content is structure alone.

    The Gram matrix is the sum of the covariance and the product of the means. Where features are
    rectified the second hides the first; compared apart, palette and patches improve together.
    Content is compared after instance normalisation, so a picture can take the style's contrast and
    colours and keep its edges and shapes. At 1.1 it is legible, at 1.5 no longer.
    """

    def content_statistic(self, features: Tensor) -> Tensor:
        """Return features (N, C, H, W), in VGG16's channels, at mean 0 and variance 1."""
        with torch.autocast(features.device.type, enabled=False):
            layer = self.config.content_layer
            return standardise(self.loss_network.in_vgg16_channels(features, layer))

    def content_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |F(y) - F(x)|^2 / |F(x)|^2, or 0 where a photograph is blank."""
        return relative_distance(statistic, target, BLANK)

    def style_statistic(self, features: Tensor) -> Tensor:
        """Return the covariance matrix and the mean, (N, C, C + 1)."""
        return moments(features)

    def join_style_statistics(self, parts: Tensor) -> Tensor:
        """Return the moments of the whole: to the mean covariance comes that of the means."""
        whole = parts.mean(1)
        apart = parts[..., -1] - whole[:, None, :, -1]  # (N, parts, C)
        between = apart.mT @ apart / parts.shape[1]
        return whole + F.pad(between, (0, 1))

    def style_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return the mean of the relative squared distances of covariances and of means."""
        parts = zip(statistic.tensor_split([-1], 2), target.tensor_split([-1], 2), strict=True)
        return torch.stack([relative_distance(y, s) for y, s in parts]).mean(0)
