"""How much one input may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from wavestream.engine.errors import InputError
from wavestream.engine.rejection import Reason, Rejected


@dataclass(frozen=True)
class Limits:
    """Bounds on one input file, checked before and while it is decoded.

    Attributes:
        max_pixels: rows x cols of one image, and of the canvas that all images share. The default holds the largest
            mammograms in use (about 28 million pixels).
        max_frames: frames of one file.
        memory: bytes a worker process may allocate on top of what it needs when idle. The default suffices for an image
            of ``max_pixels``, which takes about 45 bytes per pixel to encode in layers.
        seconds: wall-clock time for one file.
    """

    max_pixels: int = 2**25
    max_frames: int = 20_000
    memory: int = 2**31
    seconds: float = 600.0

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_frames", "memory", "seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"limits.{name}: expected a positive number, got {getattr(self, name)!r}")

    @property
    def max_inflated(self) -> int:
        """Bytes that a deflated DICOM file may expand to: four 16-bit samples for each allowed pixel."""
        return 8 * self.max_pixels

    def check_image(self, rows: int, cols: int, frames: int = 1) -> None:
        """Raise :class:`Rejected` unless the image has pixels, and no more than the limits allow."""
        if rows < 1 or cols < 1 or frames < 1:
            raise Rejected(Reason.CONTRADICTORY, f"{rows} rows x {cols} columns x {frames} frames")
        if rows * cols > self.max_pixels:
            raise Rejected(
                Reason.TOO_LARGE, f"{rows} x {cols} is {rows * cols} pixels; limits.max_pixels is {self.max_pixels}"
            )
        if frames > self.max_frames:
            raise Rejected(Reason.TOO_LARGE, f"{frames} frames; limits.max_frames is {self.max_frames}")
