"""Hand the pipeline's output to torch: where that is the place for it, compress and normalise; own the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from wavestream.engine.injection import Injector
from wavestream.engine.transform import Transform


class Handover:
    """Turns outputs of the pipeline into image tensors (batch, 1, rows, cols) float32.

    Without an injector the pipeline has normalised already, and a CPU output is handed on as it is. With one the images
    arrive in [0, 1], are compressed in one call, and normalised here.

    Args:
        injector: compresses the images, in the input domain; None: leave them.
        transform: of the run.
    """

    def __init__(self, injector: Injector | None, transform: Transform) -> None:
        self._injector = injector
        self._transform = transform

    def on_cpu(self, output: Any, epoch: int, indices: NDArray[np.int64]) -> Tensor:
        """Take a CPU output. Runs in a background thread: NumPy, so that it starts no threads of its own there."""
        images = from_dlpack(output)[..., 0]
        pixels = images.numpy()
        if self._injector is not None:
            self._injector.apply(pixels, indices, self._injector.draw(epoch, indices))
            mean, scale = self._normalisation()
            np.subtract(pixels, np.float32(mean), out=pixels)
            np.multiply(pixels, np.float32(scale), out=pixels)
        return images[:, None]

    def on_cuda(self, output: Any, epoch: int, indices: NDArray[np.int64]) -> tuple[Tensor, torch.cuda.Event]:
        """Take a CUDA output, on torch's current stream.

        Returns:
            the images, copied, as DALI reuses its memory without regard to torch's streams; and the event after which
            the output is no longer read and may be dropped.
        """
        images = from_dlpack(output)[..., 0]
        if self._injector is not None:
            self._injector.apply(images, indices, self._injector.draw(epoch, indices))
            mean, scale = self._normalisation()
            images = (images - mean).mul_(scale)
        else:
            images = images.clone()
        done = torch.cuda.Event()
        done.record()
        return images[:, None], done

    def _normalisation(self) -> tuple[float, float]:
        """Mean and factor, rounded to float32 as in the pipeline."""
        return float(np.float32(self._transform.mean)), float(np.float32(1.0 / self._transform.std))
