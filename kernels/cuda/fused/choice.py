"""Which way a batch goes on the device.

By size: one block per image; a cluster of blocks; tiles for the finest levels and one of the two for the rest; or the
multi-pass kernels. This is the one place where it is decided, and the one to tune on a device: the kernels are right
for every choice that fits. No number here has been measured yet; each says what it is taken from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wavestream.kernels.cuda.fused.budget import Part, part_of
from wavestream.kernels.cuda.fused.source import NORM_LEVELS
from wavestream.kernels.cuda.launch import MAX_GRID_SIDE
from wavestream.kernels.wavelets import INTEGER_WAVELET

# Pixels that the kernel reads, and what it may write for integers besides the same. int32 is left to the multi-pass
# kernels: it needs 64-bit lifting, and no detector delivers it.
INTEGERS = ("uint8", "int16", "uint16")
SOURCES = (*INTEGERS, "float16", "float32")
RESULTS_OF_INTEGERS = ("float16", "float32")

# Blocks that may share an image. Eight is what every device with clusters can place (larger clusters are not portable);
# powers of two, because the blocks are placed in a group of multiprocessors, which such sizes fill evenly.
CLUSTERS = (1, 2, 4, 8)

# Levels that may be done by tiles, where the image is too large as it is: three make 4096x4096 pixels of 512x512.
MOST_PEELED = 3

# Threads per block. The kernel is compiled for as many blocks on a multiprocessor as make 1024 threads of 64 registers,
# which is all of its registers.
THREADS = (256, 512, 1024)
THREADS_PER_MULTIPROCESSOR = 1024

# The driver keeps this much of every block's shared memory for itself (CUDA C++ Programming Guide, capability 9.0).
RESERVED_BYTES = 1024


@dataclass(frozen=True)
class Limits:
    """What a device offers.

    Attributes:
        multiprocessors: how many.
        shared_per_block: bytes of dynamic shared memory that a block may ask for, at most.
        shared_per_multiprocessor: bytes, for all its blocks.
        clusters: whether blocks can share an image (compute capability 9.0 or later).
    """

    multiprocessors: int
    shared_per_block: int
    shared_per_multiprocessor: int
    clusters: bool


@dataclass(frozen=True)
class Batch:
    """What is to be done.

    Attributes:
        images: how many.
        rows, cols: that hold every image which is transformed.
        levels, shallowest: of the deepest one, and of the one with fewest levels.
        wavelet: its name.
        source, result: names of the pixel dtypes.
    """

    images: int
    rows: int
    cols: int
    levels: int
    shallowest: int
    wavelet: str
    source: str
    result: str


@dataclass(frozen=True)
class Choice:
    """A launch of the fused kernel.

    Attributes:
        part: of an image in each block.
        cluster: blocks per image.
        threads: per block.
        in_work: images that the device works on at a time.
        peeled: finest levels that are done by tiles before and after, so that the rest fits.
    """

    part: Part
    cluster: int
    threads: int
    in_work: int
    peeled: int = 0


@dataclass(frozen=True)
class Declined:
    """The batch is not one for the fused kernel, and why."""

    reason: str


def choose(limits: Limits, batch: Batch) -> Choice | Declined:
    """How the fused kernel does a batch, or why it does not."""
    if batch.source not in SOURCES:
        return Declined(f"pixels of {batch.source} are not among {', '.join(SOURCES)}")
    converting = batch.source in INTEGERS and batch.result in RESULTS_OF_INTEGERS
    if batch.result != batch.source and not converting:
        return Declined(f"a result of {batch.result} for pixels of {batch.source}")
    if batch.wavelet == INTEGER_WAVELET and batch.levels > NORM_LEVELS:
        return Declined(f"{batch.levels} levels, more than {NORM_LEVELS}")
    deepest = MOST_PEELED if batch.images <= MAX_GRID_SIDE else 0
    for peeled in range(min(deepest + 1, batch.shallowest)):
        rest = replace(
            batch,
            rows=-(-batch.rows // 2**peeled),
            cols=-(-batch.cols // 2**peeled),
            levels=batch.levels - peeled,
        )
        fitting = [cluster for cluster in CLUSTERS if _fits(limits, rest, cluster)]
        if fitting:
            return replace(_launch(limits, rest, fitting), peeled=peeled)
    return Declined(
        f"{batch.rows}x{batch.cols} pixels do not fit {max(CLUSTERS) if limits.clusters else 1} x "
        f"{limits.shared_per_block} bytes of shared memory"
    )


def _launch(limits: Limits, batch: Batch, fitting: list[int]) -> Choice:
    """The launch of a batch that fits these numbers of blocks per image."""
    # As few blocks per image as fit: every further one adds entries to be read from its neighbours, and barriers that
    # wait for the slowest. But where they leave half of the multiprocessors without work, more blocks finish sooner;
    # if their parts, which come in steps of 2**levels rows, are a third smaller at least.
    cluster = fitting[0]
    for larger in fitting[1:]:
        smaller_part = 3 * part_for(batch, larger).slab <= 2 * part_for(batch, cluster).slab
        if batch.images * larger <= limits.multiprocessors and smaller_part:
            cluster = larger
    part = part_for(batch, cluster)
    # As many threads as fill a multiprocessor with the blocks that it gets: as many as its memory holds, if there are
    # so many. While one block waits at a barrier another works, so two of 512 are better than one of 1024.
    by_memory = limits.shared_per_multiprocessor // (part.shared_bytes + RESERVED_BYTES)
    by_batch = -(-batch.images * cluster // limits.multiprocessors)
    blocks = max(1, min(by_memory, by_batch))
    threads = next((count for count in THREADS if count * blocks >= THREADS_PER_MULTIPROCESSOR), THREADS[-1])
    resident = min(blocks, THREADS_PER_MULTIPROCESSOR // threads)
    return Choice(part, cluster, threads, max(1, limits.multiprocessors * resident // cluster))


def part_for(batch: Batch, cluster: int) -> Part:
    """The part of an image of the batch in each of ``cluster`` blocks."""
    return part_of(batch.rows, batch.cols, batch.levels, batch.wavelet, cluster)


def _fits(limits: Limits, batch: Batch, cluster: int) -> bool:
    if cluster > 1 and not limits.clusters:
        return False
    return part_for(batch, cluster).shared_bytes <= limits.shared_per_block
