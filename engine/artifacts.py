"""Which samples are compressed, and how far: the artifact set of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.engine.errors import InputError
from wavestream.engine.randomness import STREAM_INJECT, STREAM_KEEP, uniform
from wavestream.kernels.wavelets import WAVELETS, max_levels

DOMAINS = ("source", "input")
_DEFAULT_WAVELETS = {"source": "cdf53", "input": "bior4.4"}


@dataclass(frozen=True)
class Artifacts:
    """With ``probability`` a sample is compressed, keeping one of ``keep`` (drawn uniformly) of its coefficients.

    Attributes:
        probability: of compressing a sample, in [0, 1].
        keep: fractions of the wavelet coefficients to keep, each in (0, 1]; one number is taken as one choice.
        domain: ``"source"`` compresses the stored image, before windowing, cropping and resizing, as an archive would;
            ``"input"`` compresses the network's input, in [0, 1], before normalisation.
        wavelet: one of ``wavestream.kernels.WAVELETS``; None: ``cdf53`` in the source, ``bior4.4`` in the input domain.
        levels: levels of the transform; None: ``min(5, as many as the image allows)``.

    Raises:
        InputError: a value outside these; ``cdf53``, an integer wavelet, in the input domain.
    """

    probability: float = 0.75
    keep: tuple[float, ...] = (0.10, 0.01, 0.001)
    domain: str = "source"
    wavelet: str | None = None
    levels: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.keep, int | float):
            object.__setattr__(self, "keep", (self.keep,))
        try:
            object.__setattr__(self, "keep", tuple(float(value) for value in self.keep))
            object.__setattr__(self, "probability", float(self.probability))
        except (TypeError, ValueError) as error:
            raise InputError(f"artifacts: expected numbers for probability and keep, got {self}") from error
        if not 0 <= self.probability <= 1:
            raise InputError(f"artifacts: expected a probability in [0, 1], got {self.probability}")
        if not self.keep:
            raise InputError("artifacts: expected at least one keep, got none; keep=(1.0,) compresses nothing")
        if not all(0 < value <= 1 for value in self.keep):
            raise InputError(
                f"artifacts: expected every keep in (0, 1], got {self.keep}; keep is a fraction, not per cent"
            )
        if self.domain not in DOMAINS:
            raise InputError(f"artifacts: expected the domain to be one of {', '.join(DOMAINS)}, got {self.domain!r}")
        if self.wavelet is not None and self.wavelet not in WAVELETS:
            raise InputError(f"artifacts: expected a wavelet out of {', '.join(WAVELETS)}, got {self.wavelet!r}")
        if self.domain == "input" and self.wavelet == "cdf53":
            raise InputError(
                "artifacts: cdf53 transforms integers, but the input domain is floating-point: choose another wavelet "
                "(bior4.4 is its float relative), or domain='source'"
            )
        if self.levels is not None and (not isinstance(self.levels, int) or self.levels < 1):
            raise InputError(f"artifacts: expected levels to be None or at least 1, got {self.levels!r}")

    @property
    def chosen_wavelet(self) -> str:
        """The wavelet that will be used: ``wavelet``, or the domain's default where it is None."""
        return self.wavelet or _DEFAULT_WAVELETS[self.domain]

    def draw(self, seed: int, epoch: int, indices: ArrayLike) -> NDArray[np.float64]:
        """The keep of each sample, a function of (seed, epoch, index): (batch,) float64, 1.0 where it stays clean."""
        injected = uniform(seed, epoch, indices, STREAM_INJECT) < self.probability
        choice = (uniform(seed, epoch, indices, STREAM_KEEP) * len(self.keep)).astype(np.int64)
        return np.where(injected, np.asarray(self.keep)[choice], 1.0)

    def require_sizes(self, rows: ArrayLike, cols: ArrayLike, indices: ArrayLike | None = None) -> None:
        """Check that images of these sizes can be compressed.

        Args:
            rows, cols: (n,) sizes in pixels.
            indices: (n,) images of the store, for the message; None: the sizes are those of the network's input.

        Raises:
            InputError: an image smaller than the wavelet, or ``levels``, allows; names the first and counts the rest.
        """
        sizes, which = np.unique(np.column_stack([rows, cols]), axis=0, return_inverse=True)
        which = which.reshape(-1)
        depth = np.array([max_levels(int(height), int(width), self.chosen_wavelet) for height, width in sizes])
        needed = self.levels or 1
        bad = np.flatnonzero((depth < needed)[which])
        if bad.size:
            height, width = sizes[which[bad[0]]]
            name = "the network's input" if indices is None else f"image {np.asarray(indices)[bad[0]]}"
            raise InputError(
                f"artifacts: {name} of {height}x{width} pixels allows {depth[which[bad[0]]]} levels of "
                f"{self.chosen_wavelet}, {needed} needed ({bad.size} of {which.size} images are too small): use fewer "
                "levels, a shorter wavelet such as haar, or cdf53 in the source domain, which takes images of any size"
            )

    def to_json(self) -> dict[str, Any]:
        """The artifact set as JSON types."""
        return asdict(self) | {"keep": list(self.keep)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Artifacts:
        """The artifact set from what :meth:`to_json` wrote.

        Raises:
            InputError: an unknown key, or a value out of its range.
        """
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown:
            raise InputError(f"artifacts: unknown keys {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        return cls(**(value | ({"keep": tuple(value["keep"])} if "keep" in value else {})))
