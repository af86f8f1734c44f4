"""A drawn chest: smooth attenuation maps that look enough like a chest X-ray to train on in minutes.

Not a physical simulation. The structures have the scales that matter to a compression study: large smooth ones (lungs,
heart, abdomen) that survive any compression, middle ones (ribs, clavicles), and small ones (vessels, nodules, noise)
that go first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]

NODULES = (4, 9)  # how many nodules an abnormal chest shows, low inclusive, high exclusive
NODULE_RADIUS = (0.045, 0.085)  # in half image widths
NODULE_CONTRAST = (0.16, 0.30)  # of the attenuation scale, where soft tissue is about 0.6


@dataclass(frozen=True)
class Body:
    """What all images of one patient share; lengths are fractions of half the image width or height.

    Attributes:
        width: half width of the thorax.
        lung_width: half width of each lung.
        lung_height: half height of each lung.
        heart: half width of the heart.
        rib_period: distance from rib to rib.
        rib_contrast: attenuation of a rib over soft tissue.
        density: attenuation of soft tissue.
    """

    width: float
    lung_width: float
    lung_height: float
    heart: float
    rib_period: float
    rib_contrast: float
    density: float


def draw_body(rng: np.random.Generator, female: bool) -> Body:
    """A patient's proportions, drawn from ``rng``; women are drawn a little smaller."""
    scale = 0.94 if female else 1.0
    return Body(
        width=scale * rng.uniform(0.84, 0.95),
        lung_width=scale * rng.uniform(0.30, 0.36),
        lung_height=scale * rng.uniform(0.58, 0.68),
        heart=rng.uniform(0.22, 0.30),
        rib_period=rng.uniform(0.17, 0.22),
        rib_contrast=rng.uniform(0.05, 0.10),
        density=rng.uniform(0.55, 0.68),
    )


def _edge(distance: Map, softness: float) -> Map:
    """1 where ``distance`` is far below 0, 0 far above it, a smooth step of width ``softness`` between."""
    return (0.5 - 0.5 * np.tanh(distance / np.float32(softness))).astype(np.float32)


def _ellipse(y: Map, x: Map, center: tuple[float, float], radii: tuple[float, float], softness: float) -> Map:
    radius = np.sqrt(((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2, dtype=np.float32)
    return _edge(radius - 1, softness)


def _interpolation(length: int, knots: int) -> Map:
    """The matrix ``(length, knots)`` of linear interpolation from evenly spaced knots."""
    place = np.linspace(0, knots - 1, length)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(knots))).astype(np.float32)


def _texture(rng: np.random.Generator, rows: int, cols: int, knots: int) -> Map:
    """Smooth random field ``(rows, cols)`` of unit variance at its knots."""
    field = rng.standard_normal((knots, knots), dtype=np.float32)
    return (_interpolation(rows, knots) @ field @ _interpolation(cols, knots).T).astype(np.float32, copy=False)


def _add_nodules(image: Map, y: Map, x: Map, body: Body, rng: np.random.Generator) -> None:
    """Add round densities inside the lungs, in place; each is drawn only in the window it reaches."""
    rows, cols = image.shape
    for _ in range(int(rng.integers(*NODULES))):
        side = -1 if rng.random() < 0.5 else 1
        angle, reach = rng.uniform(0, 2 * np.pi), 0.8 * np.sqrt(rng.random())
        center_y = -0.1 + reach * np.sin(angle) * body.lung_height
        center_x = side * 0.45 * body.width + reach * np.cos(angle) * body.lung_width
        radius, contrast = rng.uniform(*NODULE_RADIUS), rng.uniform(*NODULE_CONTRAST)
        half_y, half_x = int(radius * rows) + 1, int(radius * cols) + 1
        row, col = int((center_y + 1) / 2 * rows), int((center_x + 1) / 2 * cols)
        window = (slice(max(0, row - half_y), row + half_y), slice(max(0, col - half_x), col + half_x))
        distance = np.sqrt((y[window[0]] - center_y) ** 2 + (x[:, window[1]] - center_x) ** 2, dtype=np.float32)
        image[window] += np.float32(contrast) * _edge(distance / np.float32(radius) - 1, 0.25)


def draw_chest(body: Body, rows: int, cols: int, nodules: bool, rng: np.random.Generator) -> Map:
    """One frontal chest X-ray of ``body``.

    Args:
        body: the patient's proportions.
        rows, cols: size in pixels.
        nodules: whether lung nodules are present.
        rng: source of everything that differs from image to image.

    Returns:
        float32 ``(rows, cols)``, attenuation between 0 (nothing in the beam) and about 1 (dense bone), unclipped noise
        included; shown bright where dense, as MONOCHROME2 does.
    """
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] - np.float32(rng.uniform(-0.04, 0.04))
    x = np.linspace(-1, 1, cols, dtype=np.float32)[None, :] - np.float32(rng.uniform(-0.04, 0.04))
    torso = _edge(np.abs(x) - body.width * (1 - 0.25 * _edge(y + 0.85, 0.12)), 0.03)

    lungs = np.zeros((rows, cols), np.float32)
    for side in (-1, 1):
        lobe = _ellipse(y, x, (-0.1, side * 0.45 * body.width), (body.lung_height, body.lung_width), 0.05)
        dome = 0.42 - 0.05 * side - 0.35 * (x - side * 0.45) ** 2
        lungs += lobe * _edge(y - dome, 0.03)

    image = np.float32(body.density) * torso - np.float32(0.36) * lungs
    heart = _ellipse(y, x, (0.2, 0.12), (0.33, body.heart), 0.08)
    image += 0.22 * heart * torso
    spine = np.exp(-((x / np.float32(0.08)) ** 2)) * (1 + 0.25 * np.cos(y * np.float32(2 * np.pi / 0.13)))
    image += 0.18 * spine * torso
    ribs = np.cos(
        (y + 0.35 * x**2 - 0.1 * np.abs(x)) * np.float32(2 * np.pi / body.rib_period) + rng.uniform(0, 2 * np.pi)
    )
    image += body.rib_contrast * np.maximum(ribs, 0) ** 2 * _ellipse(y, x, (-0.1, 0), (0.75, body.width), 0.06)
    for side in (-1, 1):
        clavicle = np.abs(y + 0.72 + 0.16 * (side * x - 0.4)) / 0.035
        image += 0.10 * np.exp(-(clavicle**2)) * _edge(np.abs(side * x - 0.42) - 0.36, 0.04)

    image += lungs * (0.025 * _texture(rng, rows, cols, 40) + 0.03 * _texture(rng, rows, cols, 12))
    image += torso * 0.03 * _texture(rng, rows, cols, 6)
    if nodules:
        _add_nodules(image, y, x, body, rng)
    image += rng.uniform(0.006, 0.014) * rng.standard_normal((rows, cols), dtype=np.float32)
    return image.astype(np.float32, copy=False)
