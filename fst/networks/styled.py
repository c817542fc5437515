"""One network, many styles: conditional instance normalisation (Dumoulin et al. 2017).

A style is a vector of all scales and shifts of a network's instance norms, and a palette.
Everything else is shared. To use a style, its vector is written into the norms of an ordinary
network and its palette into the last convolution (`fold`), so that tiles, engines, exports and
videos know nothing of it and cost what they do for one style.

Shapes: N pictures, K styles, S values of a style's vector, C of its code.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fst.networks.layers import InstanceNorm
from fst.networks.palette import apply_palette, colours_of, fit_palette
from fst.networks.predictor import StylePredictor
from fst.networks.transformer import TransformerNetwork

CODE_SIZE, HIDDEN = 32, 64
"""Values of a style's code, and width of the mapper."""
CODE_SIZE_OF_ANY, HIDDEN_OF_ANY = 128, 512
"""The same of a network with a predictor, whose styles have no residuals."""
MAPPED = 0.01
"""Size of the mapper's first outputs: all styles start close to the network's own."""


def norm_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the scales and shifts of a network's instance norms by name, in its own order."""
    return {
        f"{name}.{kind}": getattr(module, kind)
        for name, module in network.named_modules()
        if isinstance(module, InstanceNorm)
        for kind in ("weight", "bias")
    }


def style_vector(network: nn.Module) -> Tensor:
    """Return the vector (S,) of the style that a network's instance norms hold."""
    return torch.cat(list(norm_parameters(network).values()))


def stylize_with(network: TransformerNetwork, vectors: Tensor, image: Tensor) -> Tensor:
    """Stylize (N, 3, H, W) with the styles' vectors (N, S) instead of the network's own."""
    own = norm_parameters(network)
    values = torch.split(vectors, [len(parameter) for parameter in own.values()], dim=1)
    result: Tensor = functional_call(network, dict(zip(own, values, strict=True)), (image,))
    return result


class StyledNetwork(nn.Module):
    """A transformer network with K styles, each picture of a batch in one of them.

    The vector of a style is the network's own, plus what the mapper makes of the style's code, plus
    the style's residual. Codes are few values, in which similar styles are close, so that a new
    style is found from few photographs; the residual is free to be anything. With a predictor, the
    code of any painting follows from its statistics, and the mapper has an input for the strength.
    Palettes, (K, 3, 4), are fitted afterwards (`fst.networks.palette`).
    """

    def __init__(
        self,
        network: TransformerNetwork,
        styles: int,
        predicts: bool = False,
        code_size: int | None = None,
        hidden: int | None = None,
    ) -> None:
        """Take a network; all styles start from its own.

        Args:
            network: with instance norms.
            styles: how many, K.
            predicts: whether to have a predictor, and the strength as an input.
            code_size: values of a style's code; None takes `CODE_SIZE` or `CODE_SIZE_OF_ANY`.
            hidden: width of the mapper; None takes `HIDDEN` or `HIDDEN_OF_ANY`.
        """
        super().__init__()
        self.network = network
        size = len(style_vector(network))
        code_size = code_size or (CODE_SIZE_OF_ANY if predicts else CODE_SIZE)
        hidden = hidden or (HIDDEN_OF_ANY if predicts else HIDDEN)
        self.codes = nn.Parameter(torch.randn(styles, code_size))
        self.residuals = nn.Parameter(torch.zeros(styles, size))
        self.palettes: Tensor
        self.register_buffer("palettes", torch.zeros(styles, 3, 4))
        self.predictor = StylePredictor(code_size) if predicts else None
        last = nn.Linear(hidden, size, bias=False)
        nn.init.normal_(last.weight, std=MAPPED)
        self.mapper = nn.Sequential(nn.Linear(code_size + predicts, hidden), nn.ReLU(), last)

    @property
    def sizes(self) -> tuple[int, int]:
        """Values of a style's code, and width of the mapper."""
        return self.codes.shape[1], len(self.mapper.get_parameter("0.bias"))

    def vectors(self, styles: Tensor | None = None, strength: float = 0.0) -> Tensor:
        """Return the vectors (N, S) of the styles with the numbers (N,); None is all, (K, S)."""
        numbers = slice(None) if styles is None else styles
        codes = self.codes[numbers]
        strengths = codes.new_full((len(codes),), strength)
        return self.map_codes(codes, strengths) + self.residuals[numbers]

    def map_codes(self, codes: Tensor, strengths: Tensor) -> Tensor:
        """Return the vectors (N, S) of codes (N, C), without a residual.

        Args:
            codes: the styles'.
            strengths: (N,), logarithms of the style's weight to the base of 4, 0 being its default;
                without effect where there is no predictor.
        """
        if self.predictor is not None:
            codes = torch.cat([codes, strengths[:, None]], dim=1)
        vectors: Tensor = style_vector(self.network) + self.mapper(codes)
        return vectors

    def forward(self, image: Tensor, styles: Tensor) -> Tensor:
        """Stylize each picture in its own style, as it is trained: without its palette.

        Args:
            image: (N, 3, H, W) in [0, 1].
            styles: the number of each picture's style, int64 (N,).

        Returns:
            (N, 3, H, W) in [0, 1].
        """
        with torch.autocast(image.device.type, enabled=False):  # as it is when the model is used
            vectors = self.vectors(styles)
        return stylize_with(self.network, vectors, image)

    def with_style(self, code: Tensor, residual: Tensor | None = None) -> "StyledNetwork":
        """Return a network with one more style, of a code (C,) and a residual (S,).

        All else it shares with this one. Without a residual the style is what the mapper makes of
        the code. It has no palette yet.
        """
        if residual is None:
            residual = torch.zeros_like(style_vector(self.network))
        return self._with(
            torch.cat([self.codes, code[None].to(self.codes)]),
            torch.cat([self.residuals, residual[None].to(self.residuals)]),
            torch.cat([self.palettes, self.palettes.new_zeros(1, 3, 4)]),
        )

    def with_only(self, styles: Tensor) -> "StyledNetwork":
        """Return a network with the styles of the numbers (N,) alone, in their order.

        All else it shares with this one.
        """
        return self._with(self.codes[styles], self.residuals[styles], self.palettes[styles])

    @torch.no_grad()
    def _with(self, codes: Tensor, residuals: Tensor, palettes: Tensor) -> "StyledNetwork":
        """Return a network with other styles, which shares everything else with this one."""
        predicts = self.predictor is not None
        other = StyledNetwork(self.network, len(codes), predicts, *self.sizes)
        other.mapper, other.predictor = self.mapper, self.predictor
        other.codes.copy_(codes)
        other.residuals.copy_(residuals)
        other.palettes.copy_(palettes)
        return other.to(codes.device).train(self.training)

    @torch.no_grad()
    def fold(self, shares: Tensor, strength: float = 0.0) -> TransformerNetwork:
        """Return a network of one style: the mean of all styles, weighted by `shares`.

        Args:
            shares: (K,), which are divided by their sum.
            strength: as in `map_codes`.
        """
        chosen = [x for x in enumerate((shares / shares.sum()).tolist()) if x[1]]
        network = copy.deepcopy(self.network)
        own = norm_parameters(network)
        for name, value in self._norms(chosen, strength).items():
            own[name].copy_(value)
        palettes = [share * self.palettes[number] for number, share in chosen]
        if (palette := torch.stack(palettes).sum(0)).any():
            apply_palette(network, palette)
        return network

    def _norms(self, chosen: Sequence[tuple[int, float]], strength: float) -> dict[str, Tensor]:
        """Return the scales and shifts of a blend of styles, given by number and share, by name."""
        # One by one: a style must not change by a bit when the network learns another.
        rows = [
            share * self.vectors(torch.tensor([number], device=self.codes.device), strength)[0]
            for number, share in chosen
        ]
        own = norm_parameters(self.network)
        sizes = [len(parameter) for parameter in own.values()]
        return dict(zip(own, torch.split(torch.stack(rows).sum(0), sizes), strict=True))

    @torch.no_grad()
    def fit_palette(self, number: int, colours: Tensor, share: float) -> None:
        """Fit the palette of the style of a number to its colours, as `fit_palette` does."""
        self.palettes[number] = 0
        if share:
            norms = self._norms([(number, 1.0)], 0.0)
            self.palettes[number] = fit_palette(self.network, colours, share, norms)


def fit_palettes(
    network: TransformerNetwork | StyledNetwork,
    paintings: Sequence[Sequence[Tensor]],
    share: float,
) -> None:
    """Fit the palette of each style to its paintings, in place: as `fit_palette` does.

    Args:
        network: of one style or of several.
        paintings: for each style one or several, (1, 3, H, W) in [0, 1].
        share: how far to go, from 0 to 1.
    """
    transformer = network.network if isinstance(network, StyledNetwork) else network
    colours = [
        torch.stack([colours_of(transformer, each) for each in of_style]).mean(0)
        for of_style in paintings
    ]
    if isinstance(network, StyledNetwork):
        for number, of_style in enumerate(colours):
            network.fit_palette(number, of_style, share)
    else:
        (of_style,) = colours
        apply_palette(network, fit_palette(network, of_style, share))


def in_style(network: nn.Module, number: int = 0) -> TransformerNetwork:
    """Return a network in the style of this number; one that has a single style is returned."""
    if isinstance(network, TransformerNetwork):
        return network
    assert isinstance(network, StyledNetwork)
    shares = torch.zeros(len(network.codes))
    shares[number] = 1
    return network.fold(shares)
