"""How many threads the decoder of layers is launched with, beside :mod:`wavestream.kernels.cuda.launch`."""

from __future__ import annotations

from dataclasses import dataclass

from wavestream.kernels.cuda.launch import is_simulated


@dataclass(frozen=True)
class LayerShapes:
    """Blocks of the decoder; it is correct for any of these numbers.

    Attributes:
        threads: of a block, which decodes a tile or reads a segment's tables; one warp, 32, exchanges by ballots.
        blocks: that the registers of a multiprocessor must at least have room for.
    """

    threads: int = 32
    blocks: int = 8


DEVICE = LayerShapes()
# Fewer threads than a stream may have states, and never only one, so that missing barriers show.
SIMULATOR = LayerShapes(threads=2)


def layer_shapes() -> LayerShapes:
    """The shapes in use: for a device, or for Numba's simulator."""
    return SIMULATOR if is_simulated() else DEVICE


def bounds_options(shapes: LayerShapes) -> dict[str, tuple[int, int]]:
    """Options of ``cuda.jit`` that tell the compiler of the shapes; the simulator does not know them.

    Without them it takes registers as if a multiprocessor ran one block at a time.
    """
    return {} if is_simulated() else {"launch_bounds": (shapes.threads, shapes.blocks)}
