"""Compress the batches of a run: which samples, how far, and at which place on their way to the network.

Three places (docs/design/0005), which give the same pixels:

- ``feed``: before the DALI graph, on the batch that the reader has just decoded. Source domain.
- ``graph``: in the DALI graph, by ``fn.python_function``. Either domain.
- ``after``: on the graph's output. Input domain.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.store import Store
from wavestream.kernels import inject

# Of each domain, the default first.
PLACES = {"source": ("feed", "graph"), "input": ("after", "graph")}


def chosen_place(artifacts: Artifacts | None, place: str | None) -> str | None:
    """The place where a run's artifacts are made: ``place``, or the default of their domain; None without artifacts.

    Raises:
        InputError: no place of that name, or one that the artifacts' domain does not pass.
    """
    known = sorted({name for places in PLACES.values() for name in places})
    if place is not None and place not in known:
        raise InputError(f"place: expected None or one of {', '.join(known)}, got {place!r}")
    if artifacts is None:
        return None
    possible = PLACES[artifacts.domain]
    if place is not None and place not in possible:
        raise InputError(
            f"place: artifacts of the {artifacts.domain} domain can be made at {' or '.join(possible)}, got {place!r}; "
            "choose one of these, or None for the default, or another domain (which is another experiment)"
        )
    return place or possible[0]


class Injector:
    """Compresses batches of a run in place. Safe to call from several threads.

    Args:
        artifacts: of the run.
        store: gives the sizes and value ranges of its images, for the source domain.
        seed: of the run.
        threads: CPU threads of the kernel.
    """

    def __init__(self, artifacts: Artifacts, store: Store, seed: int, threads: int) -> None:
        self.artifacts = artifacts
        self._seed = seed
        self._threads = threads
        if artifacts.domain == "source":
            table = store.table
            self._sizes = np.column_stack([table["rows"], table["cols"]])
            self._ranges = np.column_stack([table["value_low"], table["value_high"]])

    def draw(self, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """The keep of each sample, (batch,), a function of (seed, epoch, index)."""
        return self.artifacts.draw(self._seed, epoch, indices)

    def apply(self, images: Any, indices: NDArray[np.int64], keep: NDArray[np.float64]) -> None:
        """Compress a batch in place.

        Args:
            images: (batch, rows, cols), a NumPy or CUDA array: raw canvases of the store's dtype in the source domain,
                float32 in [0, 1] in the input domain.
            indices: (batch,) images of the store.
            keep: (batch,) as :meth:`draw` gave it.

        Raises:
            InputError: an image cannot be compressed; names the batch's images.
        """
        if (keep == 1.0).all():
            return
        options: dict[str, Any] = {"threads": self._threads}
        if self.artifacts.domain == "source":
            options |= {"sizes": self._sizes[indices], "value_range": self._ranges[indices]}
        try:
            inject(images, keep, self.artifacts.chosen_wavelet, self.artifacts.levels, out=images, **options)
        except (TypeError, ValueError) as error:
            raise InputError(f"{error} (samples count within the batch of images {indices.tolist()})") from error


class GraphInjection:
    """An injector as a function for ``fn.python_function(batch_processing=True)``, for one run of the graph at a time.

    What is drawn for a batch stays on the host and is set before the run: as inputs of the graph it would have to be
    brought back from the device.

    Attributes:
        injector: does the work.
        error: what the last run raised; DALI passes on only its text.
    """

    def __init__(self, injector: Injector) -> None:
        self.injector = injector
        self.error: InputError | None = None
        self._indices = np.empty(0, np.int64)
        self._keep = np.empty(0)
        self._staging: NDArray[Any] | None = None

    def prepare(self, epoch: int, indices: NDArray[np.int64]) -> None:
        """Draw for the batch of images that comes next."""
        self._indices, self._keep, self.error = indices, self.injector.draw(epoch, indices), None

    def __call__(self, samples: list[Any]) -> list[Any]:
        """Compress the batch: (rows, cols, 1) NumPy or CuPy arrays, which may not be changed, to as many new ones."""
        batch = self._gathered(samples)
        try:
            self.injector.apply(batch[..., 0], self._indices, self._keep)
        except InputError as error:
            self.error = error
            raise
        return list(batch)

    def _gathered(self, samples: list[Any]) -> Any:
        """The samples as one array, (batch, rows, cols, 1)."""
        if not isinstance(samples[0], np.ndarray):
            # Of CuPy's pool, which orders its memory by stream, here DALI's.
            return sys.modules["cupy"].stack(samples)
        shape, dtype = (len(samples), *samples[0].shape), samples[0].dtype
        # DALI copies what it is given, so that the memory can serve the next batch, without page faults.
        if self._staging is None or self._staging.shape[1:] != shape[1:] or len(self._staging) < len(samples):
            self._staging = np.empty(shape, dtype)
        gathered: NDArray[Any] = np.stack(samples, out=self._staging[: len(samples)])
        return gathered
