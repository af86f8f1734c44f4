"""The wavelet transform of a batch by other libraries, each in the fastest setting that we know.

Float32, on the CPU. All of PyWavelets and pytorch_wavelets run the ``periodization`` boundary of our float wavelets.

- PyWavelets: a few images per call, as many as stay in the cache, rows before columns (``axes=(-1, -2)``), which is
  1.3 times as fast as its default order; parts of the batch in parallel, as it releases the GIL.
- pytorch_wavelets: the batch as channels of one image, several times as fast as the batch as a batch.
- ptwt: has no ``periodization``. The nearest is its ``periodic`` (PyWavelets' ``periodic``): the same circular
  extension, but of every level's redundant output, a few coefficients more per side than half the samples; so it
  restores the image, with haar on even sides it is the same transform, and otherwise its coefficients, and the image
  made from the largest of them, differ from those of ``periodization``, mostly near the border. 2-D filters forward;
  back with 2-D filters for haar and one-dimensional ones for longer filters.

``cdf53`` (reversible integer lifting) is in none of them. Its stand-in is ``bior2.2``: the same filters, without
rounding, on float32 that nobody had to convert, with the boundaries above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pywt
import torch
from numpy.typing import NDArray
from ptwt.conv_transform_2 import wavedec2, waverec2
from ptwt.separable_conv_transform import fswaverec2
from pytorch_wavelets import DWTForward, DWTInverse

from wavestream.kernels.wavelets import INTEGER_WAVELET

Images = NDArray[Any]
Bands = list[NDArray[Any]]

# Pixels that PyWavelets is given at a time.
_CHUNK_PIXELS = 1 << 18


@dataclass(frozen=True)
class Peer:
    """A library's transform of a wavelet and depth.

    Attributes:
        forward: (batch, rows, cols) float32 images to the library's own coefficients.
        inverse: back; the images, (batch, rows, cols) or a row or column more, in new memory.
        bands: the coefficients as (batch, rows, cols) arrays over the same memory, in the order of
            :mod:`wavestream.kernels.layout`.
        own_threads: whether it shares a batch among torch's threads; otherwise it is given :func:`chunks` in parallel.
    """

    forward: Callable[[Images], Any]
    inverse: Callable[[Any], Images]
    bands: Callable[[Any], Bands]
    own_threads: bool

    def parts(self, images: Images) -> list[Images]:
        """The batch as the library is best given it."""
        return [images] if self.own_threads else list(chunks(images))


def chunks(images: Images) -> Iterator[Images]:
    """Parts of a batch, of as many images as stay in the cache."""
    step = max(1, _CHUNK_PIXELS // (images.shape[1] * images.shape[2]))
    for begin in range(0, len(images), step):
        yield images[begin : begin + step]


def peers_of(wavelet: str, levels: int) -> dict[str, Peer]:
    """The peers by name; the name says where another wavelet stands in for ``cdf53``."""
    stand_in = wavelet == INTEGER_WAVELET
    name = "bior2.2" if stand_in else wavelet
    found = {
        "PyWavelets": pywavelets(name, levels),
        "pytorch_wavelets": pytorch_wavelets(name, levels),
        "ptwt": torch_wavelet_toolbox(name, levels),
    }
    return {f"{library} {name}" if stand_in else library: peer for library, peer in found.items()}


def float_images(images: Images) -> Images:
    """The images as the peers take them; a copy where they are integers."""
    return images.astype(np.float32, copy=False)


def pywavelets(wavelet: str, levels: int, mode: str = "periodization") -> Peer:
    """PyWavelets, on a part of a batch, in one thread."""

    def forward(images: Images) -> Any:
        return pywt.wavedec2(images, wavelet, mode=mode, level=levels, axes=(-1, -2))

    def inverse(coefficients: Any) -> Images:
        restored: Images = pywt.waverec2(coefficients, wavelet, mode=mode, axes=(-1, -2))
        return restored

    def bands(coefficients: Any) -> Bands:
        # With the axes exchanged "horizontal" is what filters high along a row.
        return [coefficients[0], *(band for details in coefficients[1:] for band in details)]

    return Peer(forward, inverse, bands, own_threads=False)


def pytorch_wavelets(wavelet: str, levels: int) -> Peer:
    """pytorch_wavelets, on a batch as channels."""
    analysis = DWTForward(J=levels, wave=wavelet, mode="periodization")
    synthesis = DWTInverse(wave=wavelet, mode="periodization")

    def forward(images: Images) -> Any:
        with torch.inference_mode():
            return analysis(torch.from_numpy(images)[None])

    def inverse(coefficients: Any) -> Images:
        with torch.inference_mode():
            restored: Images = synthesis(coefficients)[0].numpy()
        return restored

    def bands(coefficients: Any) -> Bands:
        low, details = coefficients
        # Each level holds LH, HL, HH in PyWavelets' order: horizontal edges first.
        return [low[0].numpy(), *(level[0, :, band].numpy() for level in reversed(details) for band in (1, 0, 2))]

    return Peer(forward, inverse, bands, own_threads=True)


def torch_wavelet_toolbox(wavelet: str, levels: int) -> Peer:
    """ptwt, on a batch."""
    short = pywt.Wavelet(wavelet).dec_len == 2

    def forward(images: Images) -> Any:
        with torch.inference_mode():
            return wavedec2(torch.from_numpy(images), wavelet, mode="periodic", level=levels)

    def inverse(coefficients: Any) -> Images:
        with torch.inference_mode():
            if short:
                restored = waverec2(coefficients, wavelet)
            else:
                low, *details = coefficients
                named = [{"da": level[0], "ad": level[1], "dd": level[2]} for level in details]
                restored = fswaverec2((low, *named), wavelet)
        images: Images = restored.numpy()
        return images

    def bands(coefficients: Any) -> Bands:
        low, *details = coefficients
        return [low.numpy(), *(level[band].numpy() for level in details for band in (1, 0, 2))]

    return Peer(forward, inverse, bands, own_threads=True)
