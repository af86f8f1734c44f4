"""A machine that runs compiled CUDA kernels on the CPU, for tests where there is no GPU.

Numba's simulator runs a kernel's Python source; this runs what Numba compiled it to, with its types, its casts and its
fused multiply-adds, in blocks of the real size. Every thread has a frame of registers in memory and runs until the next
barrier; then the next thread does. Accesses outside the arrays and shared memory are errors, and so are barriers that
not all threads reach. Shared memory and registers start as garbage in every block.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

import llvmlite.binding as llvm
import numpy as np
from ptx_translation import FINISHED, OUT_OF_BOUNDS, SPECIAL, Translation


class CompiledKernel:
    """One kernel, ready to run on arrays in host memory."""

    def __init__(self, ptx: str) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._program = Translation(ptx)
        module = llvm.parse_assembly(self._program.text())
        module.verify()
        self._machine = llvm.Target.from_default_triple().create_target_machine(opt=1)
        self._engine = llvm.create_mcjit_compiler(module, self._machine)
        self._engine.finalize_object()
        pointer = ctypes.c_void_p
        self._step = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, pointer, ctypes.c_int32)(
            self._engine.get_function_address("step")
        )

    def run(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[object],
        reverse: bool = False,
        parts: dict[int, list[np.ndarray]] | None = None,
    ) -> None:
        """Run a launch, one block after another; ``reverse`` runs the threads of a block from the last to the first.

        ``parts``: of the array argument at an address, the only parts that may be touched, where that is not all of it.

        Raises:
            IndexError: an access outside the arrays, or outside shared memory.
            RuntimeError: a barrier that only some threads of a block reach.
        """
        (gx, gy, gz), (bx, by, bz) = ((*sides, 1, 1, 1)[:3] for sides in (grid, block))
        values, arrays = _parameters(arguments)
        layout = self._program.parameter_layout()
        assert len(values) == len(layout), (len(values), layout)
        parameters = np.array(values, dtype=np.int64)
        allowed = [part for array in arrays for part in (parts or {}).get(array.ctypes.data, [array])]
        blocks = [(a.ctypes.data, a.ctypes.data + a.nbytes) for a in (*allowed, *self._program.memory.values())]
        ranges = np.array([len(blocks), *itertools.chain(*blocks)], dtype=np.int64)
        places = list(itertools.product(range(bz), range(by), range(bx)))
        if reverse:
            places.reverse()
        frames = np.zeros((len(places), self._program.frame_size), dtype=np.uint8)
        special = frames[:, : 4 * len(SPECIAL)].view(np.int32)
        addresses = [frames.ctypes.data + i * frames.strides[0] for i in range(len(places))]
        pointers = parameters.ctypes.data, ranges.ctypes.data
        for z, y, x in itertools.product(range(gz), range(gy), range(gx)):
            for name in self._program.shared:
                self._program.memory[name][:] = 0xFF
            frames[:] = 0xA5
            for i, (tz, ty, tx) in enumerate(places):
                special[i] = (tx, ty, tz, bx, by, bz, x, y, z, gx, gy, gz)
            resume = 0
            while resume != FINISHED:
                reached = {self._step(address, *pointers, resume) for address in addresses}
                if OUT_OF_BOUNDS in reached:
                    raise IndexError(f"access outside the arrays, or outside shared memory, in block {(x, y, z)}")
                if len(reached) > 1:
                    raise RuntimeError(f"threads of block {(x, y, z)} wait at different barriers: {sorted(reached)}")
                resume = reached.pop()


def _parameters(arguments: Sequence[object]) -> tuple[list[int], list[np.ndarray]]:
    """Kernel parameters as Numba passes them: an array as its description, a number as itself."""
    values: list[int] = []
    arrays: list[np.ndarray] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            arrays.append(argument)
            values += [0, 0, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides]
        else:
            assert isinstance(argument, int), argument
            values.append(int(argument))
    return values, arrays
