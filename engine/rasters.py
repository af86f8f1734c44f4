"""PNG and JPEG files as images, through Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from wavestream.engine.frame import Frame, Frames, Note, Scan, bounds, luma
from wavestream.engine.limits import Limits
from wavestream.engine.rejection import Reason, Rejected

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
_GREY_MODES = {"1": 8, "L": 8, "LA": 8, "I;16": 16, "I;16B": 16}
_COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")


def scan_raster(path: Path, limits: Limits) -> Scan:
    """Facts about a PNG or JPEG file, from its header.

    Raises:
        Rejected: it is damaged, animated, of a kind without integers of at most 16 bits, or larger than ``limits``.
    """
    with _open(path, limits) as image:
        low, high = bounds(_bits(path, image), False)
        return Scan(image.height, image.width, 1, low, high)


def read_raster(path: Path, limits: Limits) -> Frames:
    """The one image of a PNG or JPEG file; colour becomes luma, an alpha channel is dropped."""
    with _open(path, limits) as image:
        bits = _bits(path, image)
        try:
            if bits == 16 and image.mode not in _GREY_MODES:
                samples = imagecodecs.png_decode(path.read_bytes())  # Pillow would reduce it to 8 bits
                pixels, notes = luma(samples[..., :3]), {Note.COLOUR}
            elif image.mode in _GREY_MODES:
                grey = image.convert("L") if bits == 8 else image
                pixels, notes = np.asarray(grey).astype(np.uint16 if bits == 16 else np.uint8), set()
            else:
                pixels, notes = luma(np.asarray(image.convert("RGB"))), {Note.COLOUR}
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - Pillow and imagecodecs raise many types for damaged files
            reason = Reason.TRUNCATED if "truncated" in str(error) else Reason.UNDECODABLE
            raise Rejected(reason, type(error).__name__) from None
        yield Frame(pixels=pixels, bits_stored=bits, notes=frozenset(notes))


@contextmanager
def _open(path: Path, limits: Limits) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(path, formats=("PNG", "JPEG", "MPO"))
        except Image.DecompressionBombError:
            raise Rejected(Reason.TOO_LARGE, "Pillow's bound on the size of images") from None
        except (UnidentifiedImageError, SyntaxError, ValueError, EOFError):
            raise Rejected(Reason.DAMAGED, "the header cannot be read") from None
        with image:
            limits.check_image(image.height, image.width)
            if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
                raise Rejected(Reason.UNSUPPORTED, "animated PNG")
            if image.mode not in (*_GREY_MODES, *_COLOUR_MODES):
                raise Rejected(Reason.UNSUPPORTED, f"Pillow mode {image.mode}")
            yield image


def _bits(path: Path, image: Image.Image) -> int:
    if image.mode in _GREY_MODES:
        return _GREY_MODES[image.mode]
    if image.format == "PNG":
        with path.open("rb") as file:
            depth = file.read(25)[24]  # IHDR: Pillow opens 16-bit colour as if it had 8
        return 16 if depth == 16 else 8
    return 8
