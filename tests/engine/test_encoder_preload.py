"""Workers come with the encoder compiled."""

from __future__ import annotations

from wavestream.engine.limits import Limits
from wavestream.engine.workers import WorkerPool

COMPILED = """any(
    getattr(kernel, "signatures", ())
    for kernel in vars(__import__("sys").modules["wavestream.kernels.cpu.layer_encoder"]).values()
)"""


def test_a_new_worker_has_it() -> None:
    with WorkerPool(1, Limits()) as pool:
        assert list(pool.map(eval, [(COMPILED,)])) == [True]
