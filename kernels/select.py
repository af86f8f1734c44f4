"""The selection threshold: the K-th largest weighted magnitude of an image's coefficients, exactly.

``K = max(1, round(keep * rows * cols))`` with Python's round (half to even). The weighted magnitude of a coefficient
``c`` is ``|c|``, for ``cdf53`` ``float32(|c|) * float32(norm of its subband)``: one IEEE float32 multiply, the same in
every backend. The backends implement::

    kth_magnitude_cpu / kth_magnitude_cuda(coefficients, counts, thresholds, layout, ...)

``coefficients`` (batch, layout.size), ``counts`` (batch,) int64 NumPy array of K, ``thresholds`` (batch,) float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wavestream.kernels.arrays import backend_of, empty_like_kind, plain, require_output, require_shape
from wavestream.kernels.dwt import checked_layout, coefficient_dtype
from wavestream.kernels.validation import check_keep, host_contiguous


def kept_count(keep: float, rows: int, cols: int) -> int:
    """K, the number of coefficients (ties aside) that ``keep`` leaves of an image of ``rows`` x ``cols`` pixels."""
    return max(1, round(float(keep) * int(rows) * int(cols)))


def kept_counts(keep: NDArray[np.float64], sizes: NDArray[np.int32]) -> NDArray[np.int64]:
    """:func:`kept_count` of each image: ``keep`` (batch,), ``sizes`` (batch, 2) rows and columns; (batch,) int64."""
    return np.maximum(1, np.rint(keep * sizes[:, 0] * sizes[:, 1])).astype(np.int64)


def kth_magnitude(
    coefficients: Any,
    keep: ArrayLike,
    shape: tuple[int, int],
    wavelet: str = "bior4.4",
    levels: int | None = None,
    *,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """The threshold of each image: its K-th largest weighted magnitude.

    Args:
        coefficients: (batch, size) packed coefficients, float32, int32 for ``cdf53``.
        keep: fraction of coefficients to keep, in (0, 1]; one or (batch,).
        shape: (rows, cols) of the images, in pixels.
        wavelet, levels: as given to :func:`wavestream.kernels.dwt.forward`.
        out: (batch,) float32 array for the result, C-contiguous.
        threads: CPU threads; None for all of this process.

    Returns:
        (batch,) float32 thresholds, in weighted coefficient units, >= 0; where the coefficients hold NaN the CPU
        kernel counts NaN as larger than infinity.

    Raises:
        TypeError: wrong dtype, or host and device arrays mixed.
        ValueError: wrong shape, keep outside (0, 1], too many levels for the size, unknown wavelet.
    """
    backend = backend_of(coefficients=coefficients, out=out)
    layout = checked_layout(shape, wavelet, levels)
    batch = int(coefficients.shape[0])
    require_shape("coefficients", coefficients, (batch, layout.size), coefficient_dtype(wavelet))
    coefficients = host_contiguous("coefficients", coefficients)
    if out is None:
        out = empty_like_kind(coefficients, (batch,), np.float32)
    require_output(out, (batch,), np.float32)
    sizes = np.tile(np.array([[layout.rows, layout.cols]], dtype=np.int32), (batch, 1))
    counts = kept_counts(check_keep(keep, batch), sizes)
    if backend == "cuda":
        from wavestream.kernels.cuda.select import kth_magnitude_cuda

        kth_magnitude_cuda(coefficients, counts, out, layout)
    else:
        from wavestream.kernels.cpu.select import kth_magnitude_cpu

        kth_magnitude_cpu(coefficients, counts, plain(out), layout, threads)
    return out
