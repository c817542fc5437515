"""The same patches in other colours, as the standards define them."""

from collections.abc import Callable

import numpy as np

PATCHES = np.array(
    [
        [(204, 51, 51), (51, 204, 51), (51, 51, 204), (204, 204, 51)],
        [(128, 128, 128), (230, 153, 102), (51, 153, 178), (13, 13, 13)],
    ]
)
# Light of BT.709's primaries to that of others, as published
BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
P3 = np.array([[0.8225, 0.1774, 0.0001], [0.0332, 0.9669, -0.0001], [0.0171, 0.0724, 0.9105]])
ADOBE = np.array([[0.7152, 0.2848, 0], [0, 1, 0], [0, 0.0412, 0.9588]])
SAME = np.eye(3)


def srgb_light(values: np.ndarray) -> np.ndarray:
    values = values / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def pq(light: np.ndarray) -> np.ndarray:
    power = (light * 203 / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(light: np.ndarray) -> np.ndarray:
    """As a screen of 1000 cd/m2 shows it; light of BT.2020's primaries."""
    screen = light * 203 / 1000
    luminance = screen @ [0.2627, 0.6780, 0.0593]
    scene = screen * luminance[..., None] ** ((1 - 1.2) / 1.2)
    logarithm = 0.17883277 * np.log((12 * scene - 0.28466892).clip(1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), logarithm)


def power(exponent: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda light: light ** (1 / exponent)


def encode(
    primaries: np.ndarray, curve: Callable[[np.ndarray], np.ndarray], patches: np.ndarray = PATCHES
) -> np.ndarray:
    """The patches' values in other colours, uint8, in patches of 16 pixels."""
    light = srgb_light(patches) @ primaries.T
    values = (curve(light.clip(0)) * 255).round().clip(0, 255).astype(np.uint8)
    return values.repeat(16, 0).repeat(16, 1)
