"""Two machine instructions that Numba's simulator lacks, under one name for device and simulator."""

from __future__ import annotations

import numpy as np
from numba import cuda

from wavestream.kernels.cuda.launch import is_simulated

if is_simulated():

    @cuda.jit(device=True)
    def float_bits(value):
        """The bits of a float32 as an int32."""
        return int(np.float32(value).view(np.int32))

    @cuda.jit(device=True)
    def round_half_even(value):
        """A float32 rounded to an integer, halves to the even one, as a float32."""
        return np.rint(value)
else:
    from numba.cuda import libdevice

    float_bits = libdevice.float_as_int
    round_half_even = libdevice.rintf
