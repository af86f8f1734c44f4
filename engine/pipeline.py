"""The DALI pipeline: one definition, for CPU and GPU, from raw stored images to network input.

Crop to the region of interest, modality rescale and VOI window and inversion (:mod:`wavestream.engine.window`), resize
(linear, antialiased), turn and mirror, normalise. Cropping first gives the same pixels, as windowing is pointwise.
Artifacts made within the graph come first in the source domain, and before normalising in the input domain.
Images may come at a reduced resolution (:mod:`wavestream.engine.resolution`); the region is then resized from where its
edges lie between their pixels.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nvidia.dali import fn, math
from nvidia.dali.pipeline import Pipeline as DaliPipeline
from nvidia.dali.types import DALIDataType, DALIInterpType, to_numpy_type

from wavestream.engine.geometry import regions_of, turn_matrices
from wavestream.engine.injection import GraphInjection, Injector
from wavestream.engine.resolution import chosen_reduction, reduced, reduced_regions
from wavestream.engine.store import Store
from wavestream.engine.transform import Transform, TransformParameters
from wavestream.engine.window import fold_windows

_DALI_DTYPES = {
    "uint8": DALIDataType.UINT8,
    "uint16": DALIDataType.UINT16,
    "int16": DALIDataType.INT16,
    "int32": DALIDataType.INT32,
}


class Pipeline:
    """Brings batches of raw images to the network's input. Safe to call from several threads; one runs at a time.

    Args:
        store: where the images come from; its table gives their windows, regions and sizes.
        transform: what to do to them.
        device_id: CUDA device number; None: run on the CPU.
        threads: CPU threads of DALI.
        normalise: False leaves the images in [0, 1], for artifacts that are made on the output.
        injector: compresses the images within the graph; None: they are not compressed here.

    Attributes:
        reduction: r, 0 to 3: the images are to come at ``2^-r`` of their size.

    Raises:
        StoreError: a window that is not finite, or a region of interest outside its image; names the image.
        InputError: ``resolution="auto"`` and a store without reduced sizes.
    """

    def __init__(
        self,
        store: Store,
        transform: Transform,
        *,
        device_id: int | None,
        threads: int,
        normalise: bool = True,
        injector: Injector | None = None,
    ) -> None:
        self.transform = transform
        self._dtype = store.header.dtype
        self._device_id = device_id
        self._threads = threads
        self._injection = None if injector is None else GraphInjection(injector)
        self._domain = None if injector is None else injector.artifacts.domain
        # Folded into the line of gain and bias, unless compressing comes between.
        self._normalise_early = normalise and self._domain != "input"
        self._normalise_late = normalise and self._domain == "input"
        self._windows = fold_windows(store.table, transform.window)
        self.reduction = chosen_reduction(store, transform)
        sizes = np.column_stack([store.table["rows"], store.table["cols"]]).astype(np.int64)
        self._regions = reduced_regions(regions_of(store, transform.roi), sizes, self.reduction)
        self._canvas = tuple(reduced(side, self.reduction) for side in store.header.canvas)
        self._lock = threading.Lock()
        self._dali: DaliPipeline | None = None
        self._capacity = 0

    def run(self, images: Any, indices: NDArray[np.int64], parameters: TransformParameters, epoch: int = 0) -> Any:
        """Transform one batch and wait for the result.

        Args:
            images: raw pixels of the store's dtype at ``2^-reduction`` of their size, each image in the top-left corner
                of an array: (batch, rows, cols), or a list of (rows, cols), C-contiguous; NumPy, or for a GPU pipeline
                CUDA arrays on its device whose content is complete. Not changed, and free again on return.
            indices: (batch,) which image of the store each one is.
            parameters: what was drawn for them.
            epoch: that the batch belongs to, for the injector's draw.

        Returns:
            DALI tensor (batch, rows, cols, 1) float32 on the pipeline's device, owned by the caller as long as it is
            referenced; NumPy, CuPy and torch take it without a copy (``__array_interface__``, DLPack).

        Raises:
            InputError: the injector cannot compress an image; names the batch's images.
            RuntimeError: DALI failed; a note names the images.
        """
        with self._lock:
            if self._dali is None or indices.size > self._capacity:
                self._capacity = indices.size
                self._dali = self._build(indices.size)
            if self._injection is not None:
                self._injection.prepare(epoch, indices)
            try:
                ragged = isinstance(images, list)
                self._dali.feed_input("images", [image[..., None] for image in images] if ragged else images[..., None])
                for name, values in self._arguments(indices, parameters).items():
                    self._dali.feed_input(name, values)
                self._dali.schedule_run()
                (output,) = self._dali.share_outputs()
                tensor = output.as_tensor()
                self._dali.release_outputs()
            except RuntimeError as error:
                # DALI leaves a pipeline that failed unusable.
                self._dali = None
                if self._injection is not None and self._injection.error is not None:
                    raise self._injection.error from error
                error.add_note(f"in the batch of images {indices.tolist()}")
                raise
        return tensor

    def _build(self, batch_size: int) -> DaliPipeline:
        # Depth 1 and one lock: batches come out in order, and iterators may share the pipeline. The overlap of reading,
        # DALI and training comes from the prefetching around it.
        options = {"batch_size": batch_size, "num_threads": self._threads, "device_id": self._device_id}
        pipeline = DaliPipeline(**options, prefetch_queue_depth=1)
        with pipeline:
            pipeline.set_outputs(self._graph())
        pipeline.build()
        return pipeline

    def _graph(self) -> Any:
        gpu = self._device_id is not None
        images = fn.external_source(
            name="images",
            device="gpu" if gpu else "cpu",
            layout="HWC",
            dtype=_DALI_DTYPES[self._dtype],
            ndim=3,
            no_copy=True,
        )

        def argument(name: str) -> Any:
            dtype, ndim = self._inputs[name]
            return fn.external_source(name=name, dtype=dtype, ndim=ndim)

        def scalar(name: str) -> Any:
            return argument(name).gpu() if gpu else argument(name)

        if self._domain == "source":
            images = self._compressed(images)
        if "start" in self._inputs:
            images = fn.slice(images, start=argument("start"), shape=argument("extent"), axes=(0, 1))
        if self._in_stored_dtype:
            images = math.min(math.max(images, scalar("low")), scalar("high")) - scalar("offset")
        else:
            images = math.min(math.max(images - scalar("offset"), scalar("low")), scalar("high"))
        gain, bias = scalar("gain"), scalar("bias")
        if "sigmoid" in self._inputs:
            logistic, images = scalar("sigmoid"), images * gain + bias
            images = self._resize(logistic / (1.0 + math.exp(-images)) + (1.0 - logistic) * images, argument)
            if self._normalise_early:
                images = images * (1.0 / self.transform.std) + (-self.transform.mean / self.transform.std)
        else:
            # The line commutes with resizing, and the small image is cheaper.
            images = self._resize(images, argument) * gain + bias
        if "matrix" in self._inputs:
            size, matrix = self.transform.image_size, argument("matrix")
            nearest = DALIInterpType.INTERP_NN
            images = fn.warp_affine(images, matrix=matrix, size=size, interp_type=nearest, inverse_map=True)
        if self._domain == "input":
            images = self._compressed(images)
        if self._normalise_late:
            # In the order of the hand-over, so that the pixels are the same to the bit.
            images = (images - self.transform.mean) * (1.0 / self.transform.std)
        return images

    def _compressed(self, images: Any) -> Any:
        assert self._injection is not None
        device = "cpu" if self._device_id is None else "gpu"
        return fn.python_function(
            images, function=self._injection, batch_processing=True, output_layouts="HWC", device=device
        )

    def _resize(self, images: Any, argument: Any) -> Any:
        options: dict[str, Any] = {"size": argument("size") if "size" in self._inputs else self.transform.image_size}
        if "roi_start" in self._inputs:
            options |= {"roi_start": argument("roi_start"), "roi_end": argument("roi_end")}
        return fn.resize(
            images, interp_type=DALIInterpType.INTERP_LINEAR, antialias=True, dtype=DALIDataType.FLOAT, **options
        )

    @cached_property
    def _in_stored_dtype(self) -> bool:
        """Clip before anything is converted: several times faster than in float32 (docs/design/0005)."""
        return self._windows.whole and not self._windows.sigmoid.any() and self._dtype != "int32"

    @cached_property
    def _inputs(self) -> dict[str, tuple[DALIDataType, int]]:
        """The arguments of the graph by name, with dtype and number of dimensions: those that this run needs."""
        number, float32 = _DALI_DTYPES[self._dtype], DALIDataType.FLOAT
        exact = DALIDataType.INT64 if self._dtype == "int32" else DALIDataType.INT32
        bound, shift = (number, number) if self._in_stored_dtype else (float32, exact)
        inputs = {
            "low": (bound, 0),
            "high": (bound, 0),
            "offset": (shift, 0),
            "gain": (float32, 0),
            "bias": (float32, 0),
        }
        if not self._regions.cover(*self._canvas):
            inputs |= {"start": (DALIDataType.INT32, 1), "extent": (DALIDataType.INT32, 1)}
        if self.reduction:
            inputs |= {"roi_start": (float32, 1), "roi_end": (float32, 1)}
        if self._windows.sigmoid.any():
            inputs["sigmoid"] = (float32, 0)
        if self.transform.rotate:
            inputs["size"] = (float32, 1)
        if self.transform.rotate or self.transform.flip:
            inputs["matrix"] = (float32, 2)
        return inputs

    def _arguments(self, indices: NDArray[np.int64], parameters: TransformParameters) -> dict[str, NDArray[Any]]:
        """The values of :attr:`_inputs` for a batch."""
        windows, (rows, cols) = self._windows, self.transform.image_size
        offset, gain, bias = windows.offset[indices], windows.gain[indices], windows.bias[indices]
        origin = 0 if self._in_stored_dtype else offset
        if self._normalise_early and "sigmoid" not in self._inputs:
            gain, bias = gain / self.transform.std, (bias - self.transform.mean) / self.transform.std
        sideways = (parameters.quarter_turns % 2 == 1)[:, None]
        values: dict[str, NDArray[Any]] = {
            "start": self._regions.start[indices],
            "extent": self._regions.extent[indices],
            "roi_start": self._regions.low[indices],
            "roi_end": self._regions.high[indices],
            "low": windows.low[indices] - origin,
            "high": windows.high[indices] - origin,
            "offset": offset,
            "gain": gain,
            "bias": bias,
            "sigmoid": windows.sigmoid[indices],
            "size": np.where(sideways, (cols, rows), (rows, cols)),
            "matrix": turn_matrices(parameters, rows, cols),
        }
        return {
            name: np.ascontiguousarray(values[name], to_numpy_type(dtype)) for name, (dtype, _) in self._inputs.items()
        }
