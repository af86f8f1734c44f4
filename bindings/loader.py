"""The torch DataLoader over a store: same arguments, samplers and iteration as torch's, batches made by the engine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler, Sampler, SequentialSampler

from wavestream.bindings.batches import BatchMaker
from wavestream.bindings.dataset import SplitDataset
from wavestream.bindings.order import EpochSampler, SamplerState
from wavestream.bindings.requests import Request, Requests
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.errors import InputError
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform

_STATE_VERSION = 1
_NO_BATCH = object()


@dataclass
class Progress:
    """How far the iteration that was started last has come."""

    epoch: int
    batches: int
    order: SamplerState
    skipped: int = 0
    finished: bool = False
    bytes_read: int = 0


class DataLoader(torch.utils.data.DataLoader[Any]):
    """Batches of network input and labels: ``for images, labels in DataLoader("cxr.zarr", batch_size=64)``.

    Yields ``(images, labels)``: images (batch, 1, rows, cols) float32 on ``device``, normalised as ``transform`` says;
    labels (batch,) int64, codes of ``target``, on ``device``. With ``extras`` there is a third element: a dict of
    (batch,) tensors on the CPU.

    Everything random derives from (seed, epoch, image): the same batches for any number of threads. Each iteration that
    is asked for a batch uses up one epoch, whether it is finished or broken off; :meth:`set_epoch` chooses the next.
    Reading, compressing and transforming run ahead in background threads, which end with the iteration.

    Args:
        store: an opened store, or its path or URL.
        split: ``train``, ``val``, ``test`` or ``none``.
        batch_size, sampler, batch_sampler, drop_last, generator, pin_memory: as in torch; samplers draw positions in
            ``dataset``, the split.
        target: label column; None: the only one there is (a store without any gives labels of -1).
        transform: None: ``Transform()``.
        artifacts: which samples to compress; None: none.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        seed: of everything random.
        threads: that decode, compress and transform; None: ``num_workers`` if that is above 0, else one per core.
        extras: columns to hand out as well: ``"index"`` (of the image in the store), ``"patient"`` (hash), and any
            other column of the store's table or labels.
        shuffle: None: True for the split ``train`` without a sampler. A permutation derived from (seed, epoch), or,
            where ``generator`` is given, torch's own from that generator.
        num_workers: torch's worker processes; here only a hint for ``threads``.
        place: where the artifacts are made: ``"feed"`` (before the DALI graph; source domain), ``"graph"`` (within it),
            ``"after"`` (on its output; input domain). The batches are the same; None: the fastest on the CPU.

    Raises:
        InputError: see :class:`SplitDataset`; no CUDA device; an image smaller than the wavelet allows; a place that
            the artifacts' domain does not pass; ``resolution="auto"`` with a store or with artifacts that need whole
            images.
        StoreError: the store cannot be opened or read.
        MissingExtraError: ``device="cuda"`` without CuPy.
        ValueError: arguments that exclude each other, as in torch.
    """

    def __init__(
        self,
        store: Store | str | Path,
        split: str = "train",
        batch_size: int = 1,
        *,
        target: str | None = None,
        transform: Transform | None = None,
        artifacts: Artifacts | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
        threads: int | None = None,
        extras: Sequence[str] = (),
        shuffle: bool | None = None,
        sampler: Sampler[int] | Iterable[int] | None = None,
        batch_sampler: Sampler[list[int]] | Iterable[list[int]] | None = None,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        num_workers: int = 0,
        pin_memory: bool = False,
        place: str | None = None,
    ) -> None:
        # Frameworks rebuild a loader from attributes named like its arguments (Lightning, to replace the sampler).
        self.store = store if isinstance(store, Store) else open_store(store)
        self.split, self.target = split, target
        self.extras = (extras,) if isinstance(extras, str) else tuple(extras)
        self.transform = transform or Transform()
        self.artifacts, self.place = artifacts, place
        self.device = _checked_device(device)
        self.seed = seed
        self.threads = _checked_threads(threads, num_workers)
        dataset = SplitDataset(self.store, split, target, self.extras)
        if shuffle is None:
            shuffle = split == "train" and sampler is None and batch_sampler is None
        if batch_size is None and batch_sampler is None:
            raise InputError("batch_size=None (single samples) is not supported: expected a number, or a batch_sampler")
        if shuffle and generator is None and sampler is None and batch_sampler is None:
            shuffle, sampler = False, EpochSampler(dataset, seed)
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            drop_last=drop_last,
            generator=generator,
            pin_memory=pin_memory,
        )
        # What frameworks look at when they warn of slow loading.
        self.num_workers = self.threads
        self._epoch = 0
        self._progress: Progress | None = None
        self._resume: Progress | None = None
        _require_compressible(dataset, self.artifacts, self.transform)
        self._maker = BatchMaker(self.store, self.transform, self.artifacts, self.device, seed, self.threads, place)

    @property  # type: ignore[override]
    def dataset(self) -> SplitDataset:
        """The split, position by position. Not an instance attribute: it is no argument to rebuild the loader from."""
        return self._dataset

    @dataset.setter
    def dataset(self, value: SplitDataset) -> None:
        self._dataset = value

    @property
    def bytes_read(self) -> int:
        """Compressed bytes of images read from the store so far, those of batches prepared in advance included."""
        return self._maker.reader.bytes_read

    @property
    def epoch_bytes(self) -> int:
        """Compressed bytes that the images of the iteration started last needed, of the batches it has handed out.

        What was prepared in advance and never asked for does not count, nor do batches that a resumed iteration skips.
        """
        return 0 if self._progress is None else self._progress.bytes_read

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self.sampler.epoch if isinstance(self.sampler, EpochSampler) else self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; passed on to samplers that have a ``set_epoch``.

        Naming the epoch that is about to be resumed keeps its position; any other is begun at its beginning.
        """
        self._progress = None
        self._epoch = epoch
        for source in self._order_sources().values():
            if hasattr(source, "set_epoch"):
                source.set_epoch(epoch)

    def __iter__(self) -> Generator[Any, None, None]:  # type: ignore[override]
        progress, batches = self._begin()
        requests = Requests(batches, self.dataset, progress.epoch)
        for request, images, needed in self._maker.images(requests):
            progress.batches += 1
            progress.bytes_read += needed
            progress.finished = requests.exhausted and progress.batches == progress.skipped + requests.count
            yield self._batch(request, images)
        progress.finished = True

    def state_dict(self) -> dict[str, Any]:
        """Where the iteration that was started last stands after the batch it last gave; at its end: the next epoch.

        With the same arguments, and the samplers as they were, :meth:`load_state_dict` continues with the same batches.
        """
        current = self._resume if self._resume is not None and self._resume.epoch == self.epoch else None
        if current is None and self._progress is not None and not self._progress.finished:
            # A sampler's set_epoch may have been called behind our back.
            current = self._progress if self._progress.epoch + 1 == self.epoch else None
        if current is None:
            current = Progress(self.epoch, 0, self._capture())
        return {
            "version": _STATE_VERSION,
            "epoch": current.epoch,
            "batches": current.batches,
            "order": current.order.values,
            "loader": self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`: the next iteration skips what was handed out, without reading it.

        Raises:
            InputError: the state is of a loader with another split, batch size, seed or number of images.
        """
        if state.get("version") != _STATE_VERSION or state.get("loader") != self._identity():
            raise InputError(
                f"cannot resume: the state is of a loader {state.get('loader')} (version {state.get('version')}), this "
                f"one is {self._identity()} (version {_STATE_VERSION}); build the loader with the same arguments"
            )
        self.set_epoch(state["epoch"])
        self._resume = Progress(state["epoch"], state["batches"], SamplerState(state["order"]))

    def _begin(self) -> tuple[Progress, Iterator[Any]]:
        """Start an iteration: its progress, and the batches of positions still to come."""
        epoch = self.epoch
        resume, self._resume = self._resume, None
        if resume is not None and resume.epoch != epoch:
            resume = None
        sources = self._order_sources()
        order = self._capture() if resume is None else resume.order
        skipped = 0 if resume is None else resume.batches
        with contextlib.nullcontext() if resume is None else order.restored(sources):
            if self.generator is not None or self._draws_globally():
                # As torch does before it asks the sampler, so that the same generator gives the same order.
                torch.empty((), dtype=torch.int64).random_(generator=self.generator)
            batches = self._batches(epoch)
            for _ in range(skipped):
                next(batches, None)
            # Samplers draw when they are first asked, which must happen while their state is restored.
            first = next(batches, _NO_BATCH)
        self._epoch = epoch + 1
        if isinstance(self.sampler, EpochSampler):
            self.sampler.epoch = epoch + 1
        self._progress = Progress(epoch, skipped, order, skipped)
        return self._progress, _chained(first, batches)

    def _batches(self, epoch: int) -> Iterator[Any]:
        if isinstance(self.sampler, EpochSampler) and self._plain():
            assert self.batch_size is not None
            return iter(BatchSampler(self.sampler.order(epoch), self.batch_size, self.drop_last))
        assert self.batch_sampler is not None
        return iter(self.batch_sampler)

    def _batch(self, request: Request, images: torch.Tensor) -> tuple[Any, ...]:
        labels = torch.from_numpy(self.dataset.labels[request.positions])
        if self.device.type == "cuda":
            labels = labels.to(self.device)
        elif self.pin_memory and torch.cuda.is_available():
            images, labels = images.pin_memory(), labels.pin_memory()
        return (images, labels, self.dataset.extras(request.positions)) if self.extras else (images, labels)

    def _plain(self) -> bool:
        """Whether torch itself made the batch sampler around ``sampler``."""
        return type(self.batch_sampler) is BatchSampler and self.batch_sampler.sampler is self.sampler

    def _draws_globally(self) -> bool:
        """Whether a sampler may draw from torch's global generator."""
        quiet = isinstance(self.sampler, EpochSampler | SequentialSampler | DistributedSampler)
        return self.generator is None and not (quiet and self._plain())

    def _order_sources(self) -> dict[str, Any]:
        inner = getattr(self.batch_sampler, "sampler", None)
        roles = {
            "generator": self.generator,
            "sampler": self.sampler,
            "batch_sampler": self.batch_sampler,
            "inner": inner,
        }
        return {role: source for role, source in roles.items() if source is not None}

    def _capture(self) -> SamplerState:
        return SamplerState.capture(self._order_sources(), shared=self._draws_globally())

    def _identity(self) -> dict[str, Any]:
        return {"split": self.split, "images": len(self.dataset), "batch_size": self.batch_size, "seed": self.seed}


def _chained(first: Any, batches: Iterator[Any]) -> Iterator[Any]:
    """``first``, then the rest; unlike itertools.chain without ``iter(batches)``, which restarts some samplers."""
    batch = first
    while batch is not _NO_BATCH:
        yield batch
        batch = next(batches, _NO_BATCH)


def _checked_device(device: str | torch.device) -> torch.device:
    checked = torch.device("cuda" if device == "gpu" else device)
    if checked.type not in ("cpu", "cuda"):
        raise InputError(f"expected device 'cpu', 'cuda' or 'cuda:N', got {str(device)!r}")
    if checked.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"device={str(device)!r}, but torch finds no CUDA device: use device='cpu', or check the driver"
        )
    return checked


def _checked_threads(threads: int | None, num_workers: int) -> int:
    if num_workers < 0 or (threads is not None and threads < 1):
        raise InputError(f"expected threads above 0 and num_workers not below 0, got {threads} and {num_workers}")
    return threads or num_workers or len(os.sched_getaffinity(0))


def _require_compressible(dataset: SplitDataset, artifacts: Artifacts | None, transform: Transform) -> None:
    if artifacts is None:
        return
    if artifacts.domain == "input":
        artifacts.require_sizes([transform.image_size[0]], [transform.image_size[1]])
        return
    table, indices = dataset.store.table, dataset.indices
    artifacts.require_sizes(table["rows"][indices], table["cols"][indices], indices)
