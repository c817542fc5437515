"""From a painting to the values of its style as one ONNX graph: what `with_paintings` computes.

The graph has two parts. The first, written in ONNX, crops the painting and reduces it to the two
sizes at which it is seen: those depend on its own, by rules that torch's exporter cannot follow.
The second is exported from torch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fst.models.export_options import ExportOptions
from fst.models.onnx_export import OPSET, write_onnx
from fst.models.standalone import StandaloneStyled
from fst.models.style_choice import MAX_ELONGATED, predictor_moments
from fst.networks.palette import PAINTING_PX, measure_colours, palette_between, pink_noise
from fst.networks.predictor import predictor_input
from fst.networks.styled import StyledNetwork

_REDUCE = f"""
<ir_version: 10, opset_import: ["" : {OPSET}, "fst" : 1]>
reduce (float[1, 3, height, width] painting) => (
    float[1, 3, seen_height, seen_width] seen, float[1, 3, small_height, small_width] small
) {{
    lengths = Shape <start = 2> (painting)
    side = ReduceMin <keepdims = 1> (lengths)
    zero = Constant <value = int64[1] {{0}}> ()
    two = Constant <value = int64[1] {{2}}> ()
    axes = Constant <value = int64[2] {{2, 3}}> ()
    elongated = Constant <value = int64[1] {{{MAX_ELONGATED}}}> ()
    longest = Mul (side, elongated)
    beyond = Sub (lengths, longest)
    cut = Max (beyond, zero)
    start = Div (cut, two)
    end = Add (start, longest)
    middle = Slice (painting, start, end, axes)

    kept = Shape <start = 2> (middle)
    wide = Cast <to = 11> (kept)
    side_wide = Cast <to = 11> (side)
    batch = Shape <start = 0, end = 2> (middle)

    seen_px = Constant <value = double[1] {{SEEN_PX}}> ()
    seen_scale = Div (seen_px, side_wide)
    seen_exact = Mul (wide, seen_scale)
    seen_round = Round (seen_exact)
    seen_lengths = Cast <to = 7> (seen_round)
    seen_sizes = Concat <axis = 0> (batch, seen_lengths)
    seen_raw = Resize <
        mode = "cubic", cubic_coeff_a = -0.5, antialias = 1, exclude_outside = 1
    > (middle, , , seen_sizes)
    black = Constant <value = float {{0.0}}> ()
    white = Constant <value = float {{1.0}}> ()
    seen = Clip (seen_raw, black, white)

    small_px = Constant <value = double[1] {{{PAINTING_PX}.0}}> ()
    one = Constant <value = double[1] {{1.0}}> ()
    fit = Div (small_px, side_wide)
    scale = Min (fit, one)
    small_exact = Mul (wide, scale)
    small_floor = Floor (small_exact)
    least = Constant <value = double {{0.002}}> ()
    most = Constant <value = double {{0.998}}> ()
    beyond_floor = Sub (small_exact, small_floor)
    apart = Clip (beyond_floor, least, most)
    small_lengths = Add (small_floor, apart)
    apart_scale = Div (small_lengths, wide)
    small_scale = Min (apart_scale, one)
    small_scales = Cast <to = 1> (small_scale)
    ones = Constant <value = float[2] {{1.0, 1.0}}> ()
    all_scales = Concat <axis = 0> (ones, small_scales)
    small = Resize <
        mode = "linear", antialias = 1, exclude_outside = 1
    > (middle, , all_scales)
}}
"""
"""The painting as the predictor sees it (`resize`), and as its colours are measured.

torch rounds down what the scale makes of a length. So does Resize, with a scale in single
precision, which is moved a little where it could come out a pixel apart.
"""


class PaintingPredictor(nn.Module):
    """The second part: from the two views of a painting to the values of its style."""

    def __init__(self, styled: StyledNetwork, palette_share: float) -> None:
        super().__init__()
        self.styled = styled
        self.loss = predictor_moments(torch.device("cpu"))
        self.palette_share = palette_share
        self.painter = StandaloneStyled(styled, torch.float32, ExportOptions())
        self.register_buffer("noise", pink_noise())

    def forward(self, seen: Tensor, small: Tensor, strength: Tensor) -> Tensor:
        """Return the values (1, V) of a style.

        Args:
            seen: the painting as the predictor sees it, (1, 3, H, W) in [0, 1].
            small: as its colours are measured.
            strength: (1,), as `Stylizer` takes it, 1 being the default.
        """
        styled = self.styled
        assert styled.predictor is not None
        code = styled.predictor(predictor_input(self.loss.style_targets(seen)))
        # The palette is that of the default strength, as `fit_palette` finds it.
        usual = styled.map_codes(code, torch.zeros_like(strength))
        no_palette = torch.zeros_like(usual[:, :12])
        stylized = self.painter(self.get_buffer("noise"), torch.cat([usual, no_palette], dim=1))
        own, aimed = (measure_colours(styled.network, each) for each in (stylized, small))
        palette = palette_between(own, aimed, self.palette_share, _eigh_as_node)
        palette = torch.where(stylized.isfinite().all(), palette, torch.zeros_like(palette))
        vector = styled.map_codes(code, 2 * (strength - 1))
        return torch.cat([vector, palette.flatten()[None]], dim=1)


def export_predictor(
    path: Path, styled: StyledNetwork, predictor_px: int, palette_share: float
) -> None:
    """Write the graph from `painting` (1, 3, H, W) and `strength` (1,) to `values` (1, V).

    H and W are at least 2.

    Args:
        path: the file.
        styled: with a predictor.
        predictor_px: shorter side of the painting that the predictor sees.
        palette_share: as in `with_paintings`.
    """
    import onnx
    from onnx import compose, parser

    module = PaintingPredictor(styled, palette_share).eval()
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    inputs = {
        "seen": torch.rand(1, 3, predictor_px, predictor_px + 31),
        "small": torch.rand(1, 3, PAINTING_PX, PAINTING_PX + 57),
        "strength": torch.ones(1),
    }
    shapes = {"seen": sizes, "small": sizes, "strength": None}
    write_onnx(path, module, inputs, shapes, "values", "the style of a painting, by fst")
    first = parser.parse_model(_REDUCE.replace("SEEN_PX", f"{predictor_px}.0") + _eigh_functions())
    second = onnx.load(path)
    first.ir_version = second.ir_version
    joined = compose.merge_models(first, second, [("seen", "seen"), ("small", "small")])
    onnx.save(joined, path)


def _eigh_as_node(matrix: Tensor) -> Sequence[Tensor]:
    """Stand for `torch.linalg.eigh` of (3, 3), which no ONNX operator computes, in the graph."""
    shapes = matrix.shape[:1], matrix.shape
    return torch.onnx.ops.symbolic_multi_out(
        "fst::Eigh", (matrix,), dtypes=(matrix.dtype,) * 2, shapes=shapes, version=1
    )


def _eigh_functions() -> str:
    """Return `fst::Eigh` as functions of ONNX: Jacobi's method.

    Each rotation clears an entry beside the diagonal. What is left falls quadratically from round
    to round: after five it is rounding errors.
    """
    unit = np.eye(3)
    constants, pairs = [], ((0, 1), (0, 2), (1, 2))
    for number, (p, q) in enumerate(pairs):
        across = np.outer(unit[p], unit[q])
        difference = np.diag(unit[q] - unit[p])
        both = np.stack([difference.ravel(), 2 * across.ravel()])
        constants += [
            f"both{number} = {_constant(both)}",
            f"within{number} = {_constant(np.diag(unit[p] + unit[q]))}",
            f"across{number} = {_constant(across - across.T)}",
        ]
    turns = []
    for step in range(5 * len(pairs)):
        at = step % len(pairs)
        known = f"m{step}, v{step}, both{at}, within{at}, across{at}"
        turns.append(f"m{step + 1}, v{step + 1} = fst.Rotate ({known})")
    lines = "\n    ".join([*constants, *turns])
    return f"""
<domain: "fst", opset_import: ["" : {OPSET}]>
Rotate (matrix, vectors, both, within, across) => (rotated, turned)
{{
    unit = {_constant(unit)}
    zero = Constant <value = double {{0.0}}> ()
    one = Constant <value = double {{1.0}}> ()
    tiny = Constant <value = double {{1e-300}}> ()
    nine = Constant <value = int64[1] {{9}}> ()
    entries = Reshape (matrix, nine)
    pair = MatMul (both, entries)
    difference, beside = Split <num_outputs = 2> (pair)
    squares = Mul (pair, pair)
    sum = ReduceSum (squares)
    positive = Add (sum, tiny)
    length = Sqrt (positive)
    size = Abs (difference)
    below = Add (size, length)
    negative = Less (difference, zero)
    opposite = Neg (beside)
    above = Where (negative, opposite, beside)
    tangent = Div (above, below)
    square = Mul (tangent, tangent)
    larger = Add (square, one)
    secant = Sqrt (larger)
    cosine = Div (one, secant)
    sine = Mul (tangent, cosine)
    shrunk = Sub (cosine, one)
    diagonal = Mul (shrunk, within)
    skew = Mul (sine, across)
    most = Add (unit, diagonal)
    rotation = Add (most, skew)
    back = Transpose (rotation)
    half = MatMul (back, matrix)
    rotated = MatMul (half, rotation)
    turned = MatMul (vectors, rotation)
}}
<domain: "fst", opset_import: ["" : {OPSET}, "fst" : 1]>
Eigh (m0) => (values, vectors)
{{
    v0 = {_constant(unit)}
    {lines}
    diagonal = Mul (m{len(turns)}, v0)
    rows = Constant <value = int64[1] {{1}}> ()
    values = ReduceSum <keepdims = 0> (diagonal, rows)
    vectors = Identity (v{len(turns)})
}}
"""


def _constant(values: np.ndarray) -> str:
    shape, entries = ",".join(map(str, values.shape)), ", ".join(map(str, values.ravel().tolist()))
    return f"Constant <value = double[{shape}] {{{entries}}}> ()"
