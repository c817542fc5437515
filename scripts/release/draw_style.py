"""Draw a style picture of our own: brush strokes that follow a flow around three vortices.

python scripts/release/draw_style.py style.jpg
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE_PX = 640
OVERSAMPLING = 2
VORTICES = ((0.30, 0.34, 1.0), (0.74, 0.66, -1.0), (0.78, 0.18, 0.7))  # x, y, direction of turn
# Night blue to turquoise in the stream, amber to cream at the vortices' hearts, madder between.
STREAM = ((16, 24, 74), (22, 52, 128), (30, 96, 168), (36, 148, 172), (120, 196, 190))
HEARTS = ((196, 60, 44), (232, 120, 36), (246, 182, 52), (252, 226, 140))


def flow(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flow's direction at points of the unit square."""
    across = 0.9 + 0.25 * np.sin(7 * y + 2 * x)
    down = 0.45 * np.sin(6 * x + 1.0) + 0.1 * np.cos(11 * y)
    for vx, vy, turn in VORTICES:
        dx, dy = x - vx, y - vy
        pull = turn * 2.6 * np.exp(-(dx**2 + dy**2) / 0.028)
        across, down = across - 12 * pull * dy, down + 12 * pull * dx
    length = np.hypot(across, down) + 1e-6
    return across / length, down / length


def warmth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return 1 at a vortex's heart, falling to 0 around it, in bands."""
    near = np.zeros_like(x)
    for vx, vy, _ in VORTICES:
        distance = np.hypot(x - vx, y - vy)
        near = np.maximum(
            near, np.exp(-((distance / 0.13) ** 2)) * (0.8 + 0.2 * np.cos(70 * distance))
        )
    return near


def draw(seed: int = 3) -> Image.Image:
    """Return the picture: some ten thousand strokes, broad ones first."""
    random = np.random.default_rng(seed)
    side = SIZE_PX * OVERSAMPLING
    canvas = Image.new("RGB", (side, side), STREAM[0])
    pen = ImageDraw.Draw(canvas)
    for width_px, count in ((20, 2500), (12, 5000), (7, 6000)):
        x, y = random.uniform(-0.05, 1.05, (2, count))
        heat = warmth(x, y) + random.normal(0, 0.06, count)
        bands = (
            0.5 + 0.5 * np.sin(9 * y + 4 * np.sin(5 * x) + 3 * x) + random.normal(0, 0.22, count)
        )
        shade = random.normal(0, 14, count)
        paths = [(x, y)]
        for _ in range(9):
            across, down = flow(*paths[-1])
            step = 0.55 * width_px / SIZE_PX
            paths.append((paths[-1][0] + step * across, paths[-1][1] + step * down))
        points = side * np.stack([np.stack(point, axis=-1) for point in paths], axis=1)
        for i in range(count):
            palette = HEARTS if heat[i] > 0.28 else STREAM
            place = (heat[i] - 0.28) / 0.72 if heat[i] > 0.28 else bands[i]
            colour = palette[int(np.clip(place, 0, 0.999) * len(palette))]
            tinted = tuple(int(np.clip(c + shade[i], 0, 255)) for c in colour)
            stroke = [tuple(point) for point in points[i]]
            ridge = tuple(min(255, c + 34) for c in tinted)
            pen.line(stroke, fill=tinted, width=width_px, joint="curve")
            pen.line(
                [(px - width_px / 4, py - width_px / 4) for px, py in stroke],
                ridge,
                max(1, width_px // 5),
            )
    return canvas.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    draw().save(output, quality=88)
    print(f"{output}: {output.stat().st_size // 1000} kB")
