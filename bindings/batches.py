"""From requested samples to image tensors: reader, artifacts, pipeline, hand-over; one batch overlaps the next."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wavestream.bindings.handover import Handover
from wavestream.bindings.requests import Request
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.feed import FedBatch, Feeder
from wavestream.engine.injection import Injector, chosen_place, require_reducible
from wavestream.engine.pipeline import Pipeline
from wavestream.engine.prefetch import prefetch
from wavestream.engine.reader import Reader
from wavestream.engine.store import Store
from wavestream.engine.transform import Transform

# Batches prepared ahead of the one being handed out: one in each background stage.
PREFETCH = 2


class Made(NamedTuple):
    """A batch that was made: what was asked for, its images, and the compressed bytes that they needed."""

    request: Request
    images: Tensor
    bytes_read: int


class BatchMaker:
    """Makes the image tensors of a run. Safe to iterate several times at once; pickles as its arguments.

    Args:
        store: an opened store.
        transform: from stored image to network input.
        artifacts: which samples to compress, or None.
        device: where the images are wanted.
        seed: of everything random.
        threads: CPU threads that decode, compress and transform.
        place: where the artifacts are made (:mod:`wavestream.engine.injection`); None: the default of their domain.

    Raises:
        InputError: a place that the artifacts' domain does not pass; a reduced resolution that the store does not have,
            or at which its artifacts cannot be made.
        StoreError: the store's images or its table cannot be used.
        MissingExtraError: a CUDA device without CuPy.
    """

    def __init__(
        self,
        store: Store,
        transform: Transform,
        artifacts: Artifacts | None,
        device: torch.device,
        seed: int,
        threads: int,
        place: str | None = None,
    ) -> None:
        self._arguments = (store, transform, artifacts, device, seed, threads, place)
        self._device = device
        self._transform = transform
        self._seed = seed
        device_id = None if device.type == "cpu" else (device.index or 0)
        place = chosen_place(artifacts, place)
        injector = None if artifacts is None else Injector(artifacts, store, seed, threads)
        self.reader = Reader(store, threads)
        self._pipeline = Pipeline(
            store,
            transform,
            device_id=device_id,
            threads=threads,
            normalise=place != "after",
            injector=injector if place == "graph" else None,
        )
        reduction = self._pipeline.reduction
        require_reducible(artifacts, store, place, reduction)
        fed = injector if place == "feed" else None
        self._feeder = Feeder(self.reader, fed, device_id=device_id, reduction=reduction)
        self._handover = Handover(injector if place == "after" else None, transform)

    def __reduce__(self) -> tuple[type[BatchMaker], tuple[Any, ...]]:
        return BatchMaker, self._arguments

    def images(self, requests: Iterable[Request]) -> Generator[Made, None, None]:
        """Make the images of each request, (batch, 1, rows, cols) float32, in order and ahead of time.

        Requests are drawn in the caller's thread. Closing the generator ends its threads.
        """
        if self._device.type == "cpu":
            yield from prefetch(requests, [self._read, self._run_on_cpu], PREFETCH)
            return
        held: Any = None
        copied: torch.cuda.Event | None = None
        try:
            for request, output, needed in prefetch(requests, [self._read, self._run], PREFETCH):
                if copied is not None:
                    # Long since done; only now may DALI have the memory of the batch before again.
                    copied.synchronize()
                held = output
                with torch.cuda.device(self._device):
                    images, copied = self._handover.on_cuda(held, request.epoch, request.indices)
                yield Made(request, images, needed)
        finally:
            if copied is not None:
                copied.synchronize()

    def _read(self, request: Request) -> tuple[Request, FedBatch]:
        return request, self._feeder.prepare(request.epoch, request.indices)

    def _run_on_cpu(self, read: tuple[Request, FedBatch]) -> Made:
        request, output, needed = self._run(read)
        return Made(request, self._handover.on_cpu(output, request.epoch, request.indices), needed)

    def _run(self, read: tuple[Request, FedBatch]) -> tuple[Request, Any, int]:
        request, batch = read
        drawn = self._transform.sample(self._seed, request.epoch, request.indices)
        output = self._pipeline.run(batch.images, request.indices, drawn, request.epoch)
        self._feeder.release(batch)
        return request, output, batch.bytes_read
