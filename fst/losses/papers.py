"""The losses of two papers, to the letter."""

from torch import Tensor

from fst.losses.perceptual import PerceptualLoss
from fst.losses.statistics import squared_distance
from fst.losses.terms import SquaredVariation, Term


class GatysLoss(PerceptualLoss):
    """Gatys et al. 2016, section 2, on our VGG16.

    They normalise VGG19 so that its features have a mean of about 1, which changes what their
    weights mean, and average where we take maxima between blocks. Their style picture is as large
    as the content; with F F^T divided by H W, as here, eq. 4 holds for any. The mean over layers
    is eq. 5 with their weights of one over the number of layers. Total variation, which they do
    not have, has a weight of 0 by default.
    """

    def content_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |F(y) - F(x)|^2 / 2 (eq. 1)."""
        return squared_distance(statistic, target) / 2

    def style_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |G(y) - G(s)|^2 / (4 C^2) (eq. 4)."""
        return squared_distance(statistic, target) / (4 * statistic.shape[-1] ** 2)


class JohnsonLoss(PerceptualLoss):
    """Johnson et al. 2016, section 3.2, as their published code (fast-neural-style) computes it.

    Content is eq. 2. The Gram matrix is divided by C H W as in eq. 3; their code takes the mean
    over its C x C entries where eq. 4 has the sum, and so do we, for its weights to apply. Total
    variation is half the sum of squared differences on the 0-255 scale; their code sums it over
    the batch of 4, ours takes the mean over pictures, hence four times their weight in the
    configuration.
    """

    def content_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |F(y) - F(x)|^2 / (C H W)."""
        return squared_distance(statistic, target) / target[0].numel()

    def style_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return |G(y) - G(s)|^2 / C^2 with both Gram matrices divided by C."""
        channels = statistic.shape[-1]
        return squared_distance(statistic / channels, target / channels) / channels**2

    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the layers' sum."""
        return terms.sum(0)

    def further_terms(self) -> list[Term]:
        """Return theirs, with their total variation."""
        _, *others = super().further_terms()
        return [SquaredVariation(self.config.tv_weight), *others]
