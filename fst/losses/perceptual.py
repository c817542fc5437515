"""The perceptual loss: content and style in the features of a frozen network, and further terms.

Shapes: N pictures, C channels, H x W pixels. Each term is one value per picture, (N,), so that
every picture of a batch may have its own style.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import LossConfig
from fst.losses.colour import Colour
from fst.losses.light import Light
from fst.losses.loss_network import LossNetwork
from fst.losses.statistics import gram_matrix
from fst.losses.terms import Term, TotalVariation

MIN_TILE_PX = 64
"""Smallest side of a tile in which the style is compared."""


class PerceptualLoss(nn.Module, ABC):
    """Named terms of a stylized batch, and their weighted total.

    Subclasses say how content and style are measured. What else counts is a list of `Term` objects;
    training, TensorBoard and reports take the terms by name.
    """

    def __init__(self, loss_network: LossNetwork, config: LossConfig) -> None:
        """Take the network in whose features pictures are compared, layers and weights."""
        super().__init__()
        self.loss_network = loss_network
        self.config = config
        weights = config.style_layer_weights or [1.0] * len(config.style_layers)
        mean_weight = sum(weights) / len(weights)
        self.layer_weights = {
            layer: weight / mean_weight
            for layer, weight in zip(config.style_layers, weights, strict=True)
        }
        self.further = self.further_terms()

    def further_terms(self) -> list[Term]:
        """Return the terms besides content and style."""
        weights = {Light: self.config.light_weight, Colour: self.config.colour_weight}
        areas = [term(weight) for term, weight in weights.items() if weight]
        return [TotalVariation(self.config.tv_weight), *areas]

    @torch.no_grad()
    def style_targets(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the style statistics of (N, 3, H, W) in [0, 1] by level and layer, (N, ...)."""
        return {
            _target_name(level, layer): self.style_statistic(features)
            for level, image in enumerate(_pyramid(pictures, self.config.style_levels))
            for layer, features in self.loss_network(image, self.config.style_layers).items()
        }

    @torch.no_grad()
    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Return what results are held against, by term, measured on photographs (N, 3, H, W)."""
        layer = self.config.content_layer
        features = self.loss_network(content, [layer])[layer]
        further = {term.name: term.target(content) for term in self.further}
        return {"content": self.content_statistic(features), **further}

    def forward(
        self,
        stylized: Tensor,
        content: Tensor,
        style: Mapping[str, Tensor],
        weights: Tensor,
        pool: Callable[[str, Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the named terms, unweighted, and their weighted sum `total`.

        Args:
            stylized: (N, 3, H, W) in [0, 1].
            content: the pictures it was made from, of the same shape.
            style: each picture's `style_targets`, (N, ...).
            weights: each picture's weight of the style term, (N,).
            pool: from a target's name and each picture's statistics (N, ...) to those that are
                compared with the target, as where several pictures are compared as one.

        Returns:
            `content`, `style`, `style/LAYER` ..., the further terms, and `total`, each (N,).
        """
        return self.against(self.content_targets(content), stylized, style, weights, pool)

    def against(
        self,
        content: Mapping[str, Tensor],
        stylized: Tensor,
        style: Mapping[str, Tensor],
        weights: Tensor,
        pool: Callable[[str, Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return what `forward` does, with what `content_targets` has already measured."""
        config = self.config
        by_layer: dict[str, list[Tensor]] = {layer: [] for layer in config.style_layers}
        for level, image in enumerate(_pyramid(stylized, config.style_levels)):
            content_here = [config.content_layer] if level == 0 else []
            features = self.loss_network(image, {*config.style_layers, *content_here})
            if level == 0:
                statistic = self.content_statistic(features[config.content_layer])
                content_term = self.content_distance(statistic, content["content"])
            tiles = max(1, min(config.style_tiles, min(image.shape[-2:]) // MIN_TILE_PX))
            for layer, distances in by_layer.items():
                name = _target_name(level, layer)
                here = partial(pool, name) if pool else None
                distances += self._style_distances(features[layer], style[name], tiles, here)
        by_layer_mean = {layer: torch.stack(terms).mean(0) for layer, terms in by_layer.items()}
        style_term = self.combine_layers(
            torch.stack([self.layer_weights[k] * v for k, v in by_layer_mean.items()])
        )
        further = {term.name: term(stylized, content[term.name]) for term in self.further}
        weighted = [
            config.content_weight * content_term,
            weights * style_term,
            *(term.weight * further[term.name] for term in self.further),
        ]
        return {
            "content": content_term,
            "style": style_term,
            **{f"style/{layer}": term for layer, term in by_layer_mean.items()},
            **further,
            "total": torch.stack(weighted).sum(0),
        }

    def _style_distances(
        self,
        features: Tensor,
        target: Tensor,
        tiles: int,
        pool: Callable[[Tensor], Tensor] | None,
    ) -> list[Tensor]:
        """Return the distance of the whole and, where there are several tiles, their mean."""
        whole = parts = self.style_statistic(_cut_into_tiles(features, tiles))
        distances = []
        if tiles > 1:  # strokes everywhere, and the palette of the whole
            of_parts = self.style_distance(parts, target.repeat_interleave(tiles**2, 0))
            distances.append(of_parts.view(-1, tiles**2).mean(1))
            whole = self.join_style_statistics(parts.view(-1, tiles**2, *parts.shape[1:]))
        return [*distances, self.style_distance(pool(whole) if pool else whole, target)]

    def content_statistic(self, features: Tensor) -> Tensor:
        """Return what of features (N, C, H, W) is compared as content: here all of them."""
        return features

    @abstractmethod
    def content_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return (N,): how far the results' content statistics are from the photographs'."""

    def style_statistic(self, features: Tensor) -> Tensor:
        """Return what of features (N, C, H, W) is compared as style: the Gram matrix (N, C, C)."""
        return gram_matrix(features)

    def join_style_statistics(self, parts: Tensor) -> Tensor:
        """Return the style statistic of features from those of its equal parts (N, parts, ...)."""
        return parts.mean(1)

    @abstractmethod
    def style_distance(self, statistic: Tensor, target: Tensor) -> Tensor:
        """Return (N,): how far the results' style statistics are from the styles', (N, ...)."""

    def combine_layers(self, terms: Tensor) -> Tensor:
        """Return the style term (N,), here the mean of the terms of the layers, (layers, N)."""
        return terms.mean(0)


def _pyramid(image: Tensor, levels: int) -> Iterator[Tensor]:
    """Yield the picture at full size, half, quarter ..."""
    yield image
    for _ in range(levels - 1):
        image = F.avg_pool2d(image, 2)
        yield image


def _cut_into_tiles(features: Tensor, tiles: int) -> Tensor:
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
