"""From stored image to network input: what is fixed for a run, and what is drawn for each sample."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.errors import InputError
from wavestream.engine.randomness import STREAM_FLIP, STREAM_ROTATE, uniform

RESOLUTIONS = ("full", "auto")


@dataclass(frozen=True)
class TransformParameters:
    """What was drawn for a batch.

    Attributes:
        quarter_turns: (batch,) int64, counter-clockwise quarter turns, 0 to 3 (as ``numpy.rot90``).
        flip: (batch,) bool, mirrored left to right, after turning.
    """

    quarter_turns: NDArray[np.int64]
    flip: NDArray[np.bool_]


@dataclass(frozen=True)
class Transform:
    """How an image is brought to the network: crop, window, resize, turn, flip, normalise.

    Attributes:
        image_size: (rows, cols) of the network's input in pixels.
        mean, std: the input is ``(image - mean) / std`` of an image in [0, 1].
        rotate: turn by 0, 90, 180 or 270 degrees, drawn per sample; exact. The image is turned, then resized to
            ``image_size`` (in the order that needs no second resize), so ``image_size`` need not be square.
        flip: mirror left to right with probability 1/2.
        window: (centre, width) in modality units, LINEAR, instead of the file's window; None: the file's.
        roi: crop to the stored region of interest; False: use the whole image.
        resolution: ``"full"`` reads images at the size they are stored at. ``"auto"`` reads them at 1/2, 1/4 or 1/8 of
            it, the smallest at which the regions of all images of the store keep at least the larger side of
            ``image_size`` in both directions: fewer bytes, less work, and not the same pixels, as the wavelet's
            low-pass then comes before the resize. Needs a store of the codec ``layers``.

    Raises:
        InputError: a value outside these.
    """

    image_size: tuple[int, int] = (224, 224)
    mean: float = 0.5
    std: float = 0.25
    rotate: bool = False
    flip: bool = False
    window: tuple[float, float] | None = None
    roi: bool = True
    resolution: str = "full"

    def __post_init__(self) -> None:
        size = self.image_size
        if isinstance(size, int):
            size = (size, size)
        if len(size) != 2 or not all(isinstance(side, int | np.integer) and side >= 1 for side in size):
            raise InputError(f"transform: expected image_size (rows, cols), each at least 1, got {self.image_size!r}")
        object.__setattr__(self, "image_size", (int(size[0]), int(size[1])))
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise InputError(f"transform: expected a finite mean and a std above 0, got {self.mean} and {self.std}")
        if self.window is not None:
            if len(self.window) != 2 or not all(math.isfinite(value) for value in self.window) or self.window[1] < 1:
                raise InputError(
                    f"transform: expected window (centre, width) with a width of at least 1, got {self.window!r}"
                )
            object.__setattr__(self, "window", (float(self.window[0]), float(self.window[1])))
        if self.resolution not in RESOLUTIONS:
            raise InputError(
                f"transform: expected the resolution to be one of {', '.join(RESOLUTIONS)}, got {self.resolution!r}"
            )

    def sample(self, seed: int, epoch: int, indices: ArrayLike) -> TransformParameters:
        """Draw the parameters of a batch, a function of (seed, epoch, index) for each sample."""
        count = np.asarray(indices).size
        turns, flip = np.zeros(count, np.int64), np.zeros(count, np.bool_)
        if self.rotate:
            turns = (uniform(seed, epoch, indices, STREAM_ROTATE) * 4).astype(np.int64)
        if self.flip:
            flip = uniform(seed, epoch, indices, STREAM_FLIP) < 0.5
        return TransformParameters(turns, flip)

    def to_json(self) -> dict[str, Any]:
        """The transform as JSON types."""
        return asdict(self) | {"image_size": list(self.image_size), "window": self.window and list(self.window)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Transform:
        """The transform from what :meth:`to_json` wrote.

        Raises:
            InputError: an unknown key, or a value out of its range.
        """
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown:
            raise InputError(f"transform: unknown keys {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        return cls(**value | {key: tuple(value[key]) for key in ("image_size", "window") if value.get(key) is not None})
