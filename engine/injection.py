"""Compress the batches of a run: which samples, how far, and at which place on their way to the network.

Three places (docs/design/0005), which give the same pixels:

- ``feed``: before the DALI graph, on the batch that the reader has just decoded. Source domain. Where a store's layers
  hold the compressed images, they are read instead of made.
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
from wavestream.engine.ragged import shaped
from wavestream.engine.store import Store
from wavestream.kernels import inject
from wavestream.kernels.ragged import inject_ragged
from wavestream.kernels.wavelets import INTEGER_WAVELET

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


def are_read(artifacts: Artifacts | None, store: Store, place: str | None) -> bool:
    """Whether a store holds the compressed images of a run, so that they are read and not made.

    That is so in a store of layers for artifacts of its own wavelet, ``cdf53`` with its default levels, in the source
    domain, at the place where images are read.
    """
    return (
        artifacts is not None
        and place == "feed"
        and artifacts.chosen_wavelet == INTEGER_WAVELET
        and artifacts.levels is None
        and store.header.codec == "layers"
    )


def require_reducible(artifacts: Artifacts | None, store: Store, place: str | None, reduction: int) -> None:
    """Check that artifacts can be made for images that are read at ``2^-reduction`` of their size.

    Raises:
        InputError: they are made on the stored image, which is then not there.
    """
    if reduction and artifacts is not None and artifacts.domain == "source" and not are_read(artifacts, store, place):
        raise InputError(
            f"resolution='auto' reads images at 1/{2**reduction} of their size, but artifacts of the source domain "
            f"with wavelet {artifacts.chosen_wavelet} and levels={artifacts.levels} at place {place!r} need "
            "the whole image: choose resolution='full', or what the store holds (cdf53, levels=None, place 'feed')"
        )


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
                float32 in [0, 1] in the input domain. Or a list of (rows, cols) arrays, each as large as its image.
            indices: (batch,) images of the store.
            keep: (batch,) as :meth:`draw` gave it.

        Raises:
            InputError: an image cannot be compressed; names the batch's images.
        """
        if (keep == 1.0).all():
            return
        ragged = isinstance(images, list)
        options: dict[str, Any] = {"threads": self._threads, "out": images}
        if self.artifacts.domain == "source":
            options["value_range"] = self._ranges[indices]
            if not ragged:
                options["sizes"] = self._sizes[indices]
        compress = inject_ragged if ragged else inject
        try:
            compress(images, keep, self.artifacts.chosen_wavelet, self.artifacts.levels, **options)
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
            self.injector.apply(batch, self._indices, self._keep)
        except InputError as error:
            self.error = error
            raise
        return [image[..., None] for image in batch]

    def _gathered(self, samples: list[Any]) -> Any:
        """Copies of the samples: one array (batch, rows, cols), or, where they are of different sizes, a list."""
        images = [sample[..., 0] for sample in samples]
        equal = len({image.shape for image in images}) == 1
        if not isinstance(images[0], np.ndarray):
            # Of CuPy's pool, which orders its memory by stream, here DALI's.
            return sys.modules["cupy"].stack(images) if equal else [image.copy() for image in images]
        # DALI copies what it is given, so that the memory can serve the next batch, without page faults.
        pixels = sum(image.size for image in images)
        if self._staging is None or self._staging.size < pixels or self._staging.dtype != images[0].dtype:
            self._staging = np.empty(pixels, images[0].dtype)
        batch = shaped(self._staging, np.array([image.shape for image in images]))
        for image, copy in zip(images, batch, strict=True):
            copy[...] = image
        return batch
