"""Hard thresholding: coefficients whose weighted magnitude reaches the threshold stay, the others become 0.

Ties at the threshold all stay. The weighted magnitude is that of :mod:`wavestream.kernels.select`. The backends
implement::

    hard_threshold_cpu / hard_threshold_cuda(coefficients, thresholds, out, layout, ...)

``coefficients`` and ``out`` (batch, layout.size), which may be one array; ``thresholds`` (batch,) float32, all on one
device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wavestream.kernels.arrays import backend_of, empty_like_kind, plain, require_apart, require_output, require_shape
from wavestream.kernels.dwt import checked_layout, coefficient_dtype
from wavestream.kernels.validation import host_contiguous


def hard_threshold(
    coefficients: Any,
    thresholds: Any,
    shape: tuple[int, int],
    wavelet: str = "bior4.4",
    levels: int | None = None,
    *,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Set every coefficient below its image's threshold to 0.

    Args:
        coefficients: (batch, size) packed coefficients, float32, int32 for ``cdf53``.
        thresholds: (batch,) float32, in weighted coefficient units, on the same device.
        shape: (rows, cols) of the images, in pixels.
        wavelet, levels: as given to :func:`wavestream.kernels.dwt.forward`.
        out: array like ``coefficients`` for the result, C-contiguous; may be ``coefficients`` itself.
        threads: CPU threads; None for all of this process.

    Returns:
        (batch, size) coefficients. A NaN coefficient becomes 0.

    Raises:
        TypeError: wrong dtype, or host and device arrays mixed.
        ValueError: wrong shape, too many levels for the size, unknown wavelet.
    """
    backend = backend_of(coefficients=coefficients, thresholds=thresholds, out=out)
    layout = checked_layout(shape, wavelet, levels)
    batch = int(coefficients.shape[0])
    dtype = coefficient_dtype(wavelet)
    require_shape("coefficients", coefficients, (batch, layout.size), dtype)
    require_shape("thresholds", thresholds, (batch,), np.float32)
    coefficients = host_contiguous("coefficients", coefficients)
    thresholds = host_contiguous("thresholds", thresholds)
    if out is None:
        out = empty_like_kind(coefficients, (batch, layout.size), dtype)
    require_output(out, (batch, layout.size), dtype)
    require_apart("coefficients", coefficients, out, or_same=True)
    if backend == "cuda":
        from wavestream.kernels.cuda.threshold import hard_threshold_cuda

        hard_threshold_cuda(coefficients, thresholds, out, layout)
    else:
        from wavestream.kernels.cpu.threshold import hard_threshold_cpu

        hard_threshold_cpu(coefficients, thresholds, plain(out), layout, threads)
    return out
