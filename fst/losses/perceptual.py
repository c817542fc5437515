"""The perceptual loss: content, style and total variation in the features of a frozen network.

Shapes: N pictures, C channels, H x W pixels. Each term is one value per picture, (N,), so that
every picture of a batch may have its own style.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import LossConfig
from fst.losses.light import large_areas
from fst.losses.loss_network import LossNetwork
from fst.losses.statistics import gram_matrix, mean_absolute_difference, squared_distance


class PerceptualLoss(nn.Module, ABC):
    """Named terms of a stylized batch, and their weighted total.

    Subclasses say how content and style are measured. One that adds a term overrides `terms` and
    `weights`; training, TensorBoard and reports take the terms by name.
    """

    style_weight: Tensor
    """The style term's weight for each style, (styles,); `adapt` may move them."""

    def __init__(
        self,
        loss_network: LossNetwork,
        style: Tensor | Sequence[tuple[Tensor, float]],
        config: LossConfig,
    ) -> None:
        """Measure the style; `add_style` adds further ones.

        Args:
            loss_network: in whose features pictures are compared.
            style: as for `add_style`.
            config: layers and weights.
        """
        super().__init__()
        self.loss_network = loss_network
        self.config = config
        weights = config.style_layer_weights or [1.0] * len(config.style_layers)
        mean_weight = sum(weights) / len(weights)
        self.layer_weights = {
            layer: weight / mean_weight
            for layer, weight in zip(config.style_layers, weights, strict=True)
        }
        self.add_style(style)

    @torch.no_grad()
    def add_style(self, style: Tensor | Sequence[tuple[Tensor, float]]) -> None:
        """Measure a further style, whose number is how many there were before.

        Args:
            style: (1, 3, H, W) in [0, 1]; or several of them, each with its share. The target is
                the mean of their statistics, whose squared distance differs from the mean of
                their squared distances by a constant.
        """
        pictures = [(style, 1.0)] if isinstance(style, Tensor) else style
        shares = sum(share for _, share in pictures)
        targets: dict[str, Tensor] = {}
        for picture, share in pictures:
            for name, part in self.style_targets(picture).items():
                targets[name] = targets.get(name, 0) + part * (share / shares)
        targets["style_weight"] = targets[name].new_tensor([self.config.style_weight])
        for name, target in targets.items():
            known = [getattr(self, name)] if hasattr(self, name) else []
            self.register_buffer(name, torch.cat([*known, target]))

    @torch.no_grad()
    def style_targets(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the style statistics of (N, 3, H, W) in [0, 1] by level and layer, (N, ...)."""
        return {
            _target_name(level, layer): self.style_statistic(features)
            for level, image in enumerate(_pyramid(pictures, self.config.style_levels))
            for layer, features in self.loss_network(image, self.config.style_layers).items()
        }

    def replace_styles(self, targets: Mapping[str, Tensor], weights: Tensor) -> None:
        """Forget the styles, and take those with these `style_targets` and weights (styles,)."""
        for name, target in {**targets, "style_weight": weights}.items():
            self.register_buffer(name, target)

    def forward(
        self, stylized: Tensor, content: Tensor, styles: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the named terms, unweighted, and their weighted sum `total`.

        Args:
            stylized: (N, 3, H, W) in [0, 1].
            content: the pictures it was made from, of the same shape.
            styles: the number of each picture's style, int64 (N,); None is the first for all.

        Returns:
            `content`, `style`, `style/LAYER` ..., `total_variation`, `light` where it has a
            weight, and `total`, each (N,).
        """
        return self.against(self.content_targets(content), stylized, styles)

    def against(
        self, targets: Mapping[str, Tensor], stylized: Tensor, styles: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return what `forward` does, with what `content_targets` has already measured."""
        if styles is None:
            styles = torch.zeros(len(stylized), dtype=torch.long, device=stylized.device)
        terms = self.terms(targets, stylized, styles)
        weighted = [weight * terms[name] for name, weight in self.weights(styles).items()]
        return {**terms, "total": torch.stack(weighted).sum(0)}

    def weights(self, styles: Tensor) -> dict[str, float | Tensor]:
        """Return the weight of each term that is part of the total, for the styles (N,)."""
        weights: dict[str, float | Tensor] = {
            "content": self.config.content_weight,
            "style": self.style_weight[styles],
            "total_variation": self.config.tv_weight,
        }
        if self.config.light_weight:
            weights["light"] = self.config.light_weight
        return weights

    def missing_content(self, content_distances: Tensor, styles: Tensor) -> Tensor:
        """Return how far content distances are below `content_target`, summed by style.

        Args:
            content_distances: the content terms of a step, (N,).
            styles: the number of each picture's style, (N,).

        Returns:
            (styles,); zeros without a `content_target`.
        """
        missing = torch.zeros_like(self.style_weight)
        if self.config.content_target is None:
            return missing
        below = self.config.content_target - content_distances.detach().float()
        return missing.index_add_(0, styles, below)

    @torch.no_grad()
    def adapt(self, missing: Tensor) -> None:
        """Move the style weights so that the content distances approach `content_target`.

        An integral controller on the logarithm of each weight, which keeps within a factor of ten
        of the configuration's.

        Args:
            missing: what `missing_content` returned, summed over all processes.
        """
        initial = self.config.style_weight
        self.style_weight.mul_((ADAPTATION_PER_IMAGE * missing).exp())
        self.style_weight.clamp_(initial / 10, initial * 10)

    @torch.no_grad()
    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Return what results are held against, by term, measured on photographs (N, 3, H, W)."""
        layer = self.config.content_layer
        features = self.loss_network(content, [layer])[layer]
        return {"content": self.content_statistic(features), "light": large_areas(content)}

    def terms(
        self, targets: Mapping[str, Tensor], stylized: Tensor, styles: Tensor
    ) -> dict[str, Tensor]:
        """Return the named terms, unweighted, each (N,).

        Args:
            targets: what `content_targets` returns.
            stylized: (N, 3, H, W) in [0, 1].
            styles: the number of each picture's style, (N,).
        """
        config = self.config
        by_layer: dict[str, list[Tensor]] = {layer: [] for layer in config.style_layers}
        for level, image in enumerate(_pyramid(stylized, config.style_levels)):
            content_here = [config.content_layer] if level == 0 else []
            features = self.loss_network(image, {*config.style_layers, *content_here})
            if level == 0:
                content = self.content_statistic(features[config.content_layer])
                content_term = self.content_distance(content, targets["content"])
            tiles = max(1, min(config.style_tiles, min(image.shape[-2:]) // MIN_TILE_PX))
            for layer, distances in by_layer.items():
                style_target = self.get_buffer(_target_name(level, layer))[styles]
                parts = self.style_statistic(_tiled(features[layer], tiles))
                of_parts = self.style_distance(parts, style_target.repeat_interleave(tiles**2, 0))
                distances.append(of_parts.view(-1, tiles**2).mean(1))
                if tiles > 1:  # strokes everywhere, and the palette of the whole
                    of_each = parts.view(-1, tiles**2, *parts.shape[1:])
                    whole = self.joined_style_statistic(of_each)
                    distances.append(self.style_distance(whole, style_target))
        by_layer_mean = {layer: torch.stack(terms).mean(0) for layer, terms in by_layer.items()}
        terms = {
            "content": content_term,
            "style": self.combine_layers(
                torch.stack([self.layer_weights[k] * v for k, v in by_layer_mean.items()])
            ),
            **{f"style/{layer}": term for layer, term in by_layer_mean.items()},
            "total_variation": self.total_variation(stylized),
        }
        if self.config.light_weight:
            terms["light"] = squared_distance(large_areas(stylized), targets["light"])
        return terms

    def content_statistic(self, features: Tensor) -> Tensor:
        """Return what of features (N, C, H, W) is compared as content: here all of them."""
        return features

    @abstractmethod
    def content_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return (N,): how far the results' content statistics are from the photographs'."""

    def style_statistic(self, features: Tensor) -> Tensor:
        """Return what of features (N, C, H, W) is compared as style: the Gram matrix (N, C, C)."""
        return gram_matrix(features)

    def joined_style_statistic(self, parts: Tensor) -> Tensor:
        """Return the style statistic of features from those of its equal parts (N, parts, ...)."""
        return parts.mean(1)

    @abstractmethod
    def style_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return (N,): how far the results' style statistics are from the styles', (N, ...)."""

    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the style term (N,), here the mean of the terms of the layers, (layers, N)."""
        return terms.mean(0)

    def total_variation(self, image: Tensor) -> Tensor:
        """Return (N,): how rough (N, 3, H, W) is; here the mean absolute difference."""
        return mean_absolute_difference(image)


MIN_TILE_PX = 64
"""Smallest side of a tile in which the style is compared."""
ADAPTATION_PER_IMAGE = 0.01
"""Change of the style weight's logarithm per image and unit of content distance."""


@torch.no_grad()
def mean_terms(
    loss: PerceptualLoss, stylized: Tensor, contents: Tensor, style: int = 0
) -> dict[str, float]:
    """Return the terms of `loss` as means over pictures, which are taken one by one.

    Training and evaluation both judge by this, so that their figures agree to the last bit.

    Args:
        loss: what judges.
        stylized: (N, 3, H, W) in [0, 1].
        contents: what they were made from, of the same shape.
        style: the number of their style.
    """
    sums: dict[str, Tensor] = {}
    styles = torch.tensor([style], device=stylized.device)
    for y, x in zip(stylized, contents, strict=True):
        for name, value in loss(y[None], x[None], styles).items():
            sums[name] = sums.get(name, 0) + value.float()
    means = torch.cat(list(sums.values())) / len(stylized)
    return dict(zip(sums, means.tolist(), strict=True))


def _pyramid(image: Tensor, levels: int) -> Iterator[Tensor]:
    """Yield the picture at full size, half, quarter ..."""
    yield image
    for _ in range(levels - 1):
        image = F.avg_pool2d(image, 2)
        yield image


def _tiled(features: Tensor, tiles: int) -> Tensor:
    """Return (N, C, H, W) cut into tiles: (N * tiles^2, C, H // tiles, W // tiles)."""
    if tiles == 1:
        return features
    n, channels, *size = features.shape
    height, width = (px // tiles for px in size)
    cut = features[..., : height * tiles, : width * tiles]
    apart = cut.reshape(n, channels, tiles, height, tiles, width)
    return apart.permute(0, 2, 4, 1, 3, 5).reshape(n * tiles**2, channels, height, width)


def _target_name(level: int, layer: str) -> str:
    return f"target_{level}_{layer}"
