"""The kernels on a CUDA device, written in Numba: forward and inverse transform, selection, threshold and injection.

Importing it needs no driver; calling it does. :mod:`wavestream.kernels` calls it for arrays with
``__cuda_array_interface__``.
"""
