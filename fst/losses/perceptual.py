"""The perceptual loss: content, style and total variation in the features of a frozen network.

Shapes: N pictures, C channels, H x W pixels. Each term is a mean over the N pictures, so it does
not depend on the batch's size nor on how many processes share it.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import LossConfig
from fst.losses.loss_network import LossNetwork


def gram_matrix(features: Tensor) -> Tensor:
    """Return G = F F^T / (H W), the channels' correlations (Gatys et al. 2016, eq. 3).

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C), at least fp32: sums over thousands of squares overflow half precision.
    """
    with torch.autocast(features.device.type, enabled=False):
        flat = _at_least_fp32(features).flatten(2)
        return flat @ flat.mT / flat.shape[-1]


def squared_distance(value: Tensor, target: Tensor) -> Tensor:
    """Return (N,): the sum of squared differences of each picture, at least in fp32."""
    return (_at_least_fp32(value) - target).square().flatten(1).sum(1)


def differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences between horizontal and vertical neighbours of (N, C, H, W)."""
    return image.diff(dim=3), image.diff(dim=2)


def mean_absolute_difference(image: Tensor) -> Tensor:
    """Return a scalar in [0, 2]: how far horizontal and vertical neighbours are apart."""
    across, down = differences(_at_least_fp32(image))
    return across.abs().mean() + down.abs().mean()


class PerceptualLoss(nn.Module):
    """Content, style and total variation of a stylized batch, by name, and their weighted total.

    The subclasses say how each is measured.
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        style: Tensor | Sequence[tuple[Tensor, float]],
        config: LossConfig,
    ) -> None:
        """Take the Gram matrices of the style.

        Args:
            loss_network: in whose features pictures are compared.
            style: (1, 3, H, W) in [0, 1]; or several of them, each with its share. The mean of
                their Gram matrices is aimed at, whose squared distance differs from the mean of
                their squared distances by a constant.
            config: layers and weights.
        """
        super().__init__()
        styles = [(style, 1.0)] if isinstance(style, Tensor) else style
        shares = sum(share for _, share in styles)
        self.loss_network = loss_network
        self.config = config
        weights = config.style_layer_weights or [1.0] * len(config.style_layers)
        mean_weight = sum(weights) / len(weights)
        self.layer_weights = {
            layer: weight / mean_weight
            for layer, weight in zip(config.style_layers, weights, strict=True)
        }
        grams: dict[str, Tensor] = {}
        with torch.no_grad():
            for picture, share in styles:
                for level, image in enumerate(_pyramid(picture, config.style_levels)):
                    for layer, features in loss_network(image, config.style_layers).items():
                        name, part = _gram_name(level, layer), gram_matrix(features)
                        grams[name] = grams.get(name, 0) + part * (share / shares)
        for name, gram in grams.items():
            self.register_buffer(name, gram)

    def forward(self, stylized: Tensor, content: Tensor) -> dict[str, Tensor]:
        """Return the named terms, unweighted, and their weighted sum `total`.

        Args:
            stylized: (N, 3, H, W) in [0, 1].
            content: the pictures it was made from, of the same shape.

        Returns:
            Scalars `content`, `style`, `style/LAYER` ..., `total_variation`, `total`.
        """
        return self.against(self.content_target(content), stylized)

    @torch.no_grad()
    def content_target(self, content: Tensor) -> Tensor:
        """Return the features that the content of a result should have: of (N, 3, H, W)."""
        layer = self.config.content_layer
        features: dict[str, Tensor] = self.loss_network(content, [layer])
        return features[layer]

    def against(self, target: Tensor, stylized: Tensor) -> dict[str, Tensor]:
        """Return what `forward` does, with what `content_target` has already measured."""
        config = self.config
        by_layer: dict[str, list[Tensor]] = {layer: [] for layer in config.style_layers}
        content_term = stylized.new_zeros(())
        for level, image in enumerate(_pyramid(stylized, config.style_levels)):
            content_here = [config.content_layer] if level == 0 else []
            features = self.loss_network(image, {*config.style_layers, *content_here})
            if level == 0:
                content_term = self.content_distance(features[config.content_layer], target)
            for layer, distances in by_layer.items():
                gram = gram_matrix(features[layer])
                style_gram = self.get_buffer(_gram_name(level, layer))
                distances.append(self.style_distance(gram, style_gram))
        by_layer_mean = {layer: torch.stack(terms).mean() for layer, terms in by_layer.items()}
        terms = {
            "content": content_term,
            "style": self.combine_layers(
                torch.stack([self.layer_weights[k] * v for k, v in by_layer_mean.items()])
            ),
            **{f"style/{layer}": term for layer, term in by_layer_mean.items()},
            "total_variation": self.total_variation(stylized),
        }
        terms["total"] = (
            config.content_weight * terms["content"]
            + config.style_weight * terms["style"]
            + config.tv_weight * terms["total_variation"]
        )
        return terms

    @abstractmethod
    def content_distance(self, features: Tensor, target: Tensor) -> Tensor:
        """Return a scalar: how far features (N, C, H, W) are from the content's."""

    @abstractmethod
    def style_distance(self, gram: Tensor, style_gram: Tensor) -> Tensor:
        """Return a scalar: how far Gram matrices (N, C, C) are from the style's (1, C, C)."""

    @abstractmethod
    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the style term from those of the layers, (layers,)."""

    @abstractmethod
    def total_variation(self, image: Tensor) -> Tensor:
        """Return a scalar: how rough (N, 3, H, W) is from pixel to pixel."""


class RelativeLoss(PerceptualLoss):
    """Every term is divided by the size of its target.

    A weight then means the same for every style, every layer and either scale of VGG16 weights:
    a grey picture has a content and a style term of about 1. This departs from Johnson et al.,
    whose terms span six orders of magnitude between layers and styles.
    """

    def content_distance(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the mean over pictures of |F(y) - F(x)|^2 / |F(x)|^2."""
        size = _at_least_fp32(target).square().flatten(1).sum(1)
        return (squared_distance(features, target) / size).mean()

    def style_distance(self, gram: Tensor, style_gram: Tensor) -> Tensor:
        """Return the mean over pictures of |G(y) - G(s)|^2 / |G(s)|^2."""
        return (squared_distance(gram, style_gram) / style_gram.square().sum()).mean()

    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the layers' mean."""
        return terms.mean()

    def total_variation(self, image: Tensor) -> Tensor:
        """Return the mean absolute difference between neighbours, in [0, 2]."""
        return mean_absolute_difference(image)


class GatysLoss(PerceptualLoss):
    """Gatys et al. 2016, section 2, on our VGG16.

    They normalise VGG19 so that its features have a mean of about 1, which changes what their
    weights mean, and average where we take maxima between blocks. Their style picture is as large
    as the content; with F F^T divided by H W, as here, eq. 4 holds for any.
    """

    def content_distance(self, features: Tensor, target: Tensor) -> Tensor:
        """Return |F(y) - F(x)|^2 / 2 (eq. 1), averaged over pictures."""
        return squared_distance(features, target).mean() / 2

    def style_distance(self, gram: Tensor, style_gram: Tensor) -> Tensor:
        """Return |G(y) - G(s)|^2 / (4 C^2) (eq. 4), averaged over pictures."""
        return squared_distance(gram, style_gram).mean() / (4 * gram.shape[-1] ** 2)

    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the layers' mean: eq. 5 with their weights of one over the number of layers."""
        return terms.mean()

    def total_variation(self, image: Tensor) -> Tensor:
        """Return what `RelativeLoss` does; they have no such term."""
        return mean_absolute_difference(image)


class JohnsonLoss(PerceptualLoss):
    """Johnson et al. 2016, section 3.2, as their published code (fast-neural-style) computes it.

    Content is eq. 2. The Gram matrix is divided by C H W as in eq. 3; their code takes the mean
    over its C x C entries where eq. 4 has the sum, and so do we, for its weights to apply. Total
    variation is half the sum of squared differences on the 0-255 scale; their code sums it over
    the batch of 4, ours takes the mean over pictures, hence four times their weight in the
    configuration.
    """

    def content_distance(self, features: Tensor, target: Tensor) -> Tensor:
        """Return |F(y) - F(x)|^2 / (C H W), averaged over pictures."""
        return (squared_distance(features, target) / target[0].numel()).mean()

    def style_distance(self, gram: Tensor, style_gram: Tensor) -> Tensor:
        """Return |G(y) - G(s)|^2 / C^2 with both Gram matrices divided by C."""
        channels = gram.shape[-1]
        return (squared_distance(gram / channels, style_gram / channels) / channels**2).mean()

    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the layers' sum."""
        return terms.sum()

    def total_variation(self, image: Tensor) -> Tensor:
        """Return half the squared differences on the 0-255 scale, summed over a picture."""
        across, down = differences(255 * _at_least_fp32(image))
        return (across.square().sum() + down.square().sum()) / (2 * image.shape[0])


@torch.no_grad()
def mean_terms(loss: PerceptualLoss, stylized: Tensor, contents: Tensor) -> dict[str, float]:
    """Return the terms of `loss` as means over pictures, which are taken one by one.

    Training and evaluation both judge by this, so that their figures agree to the last bit.

    Args:
        loss: what judges.
        stylized: (N, 3, H, W) in [0, 1].
        contents: what they were made from, of the same shape.
    """
    sums: dict[str, Tensor] = {}
    for y, x in zip(stylized, contents, strict=True):
        for name, value in loss(y[None], x[None]).items():
            sums[name] = sums.get(name, 0) + value.float()
    means = torch.stack(list(sums.values())) / len(stylized)
    return dict(zip(sums, means.tolist(), strict=True))


LOSSES: dict[str, type[PerceptualLoss]] = {
    "relative": RelativeLoss,
    "gatys": GatysLoss,
    "johnson": JohnsonLoss,
}
"""The losses by the name that the configuration gives."""


def _pyramid(image: Tensor, levels: int) -> Iterator[Tensor]:
    """Yield the picture at full size, half, quarter ..."""
    yield image
    for _ in range(levels - 1):
        image = F.avg_pool2d(image, 2)
        yield image


def _at_least_fp32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _gram_name(level: int, layer: str) -> str:
    return f"gram_{level}_{layer}"
