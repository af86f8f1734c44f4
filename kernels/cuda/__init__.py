"""The kernels on a CUDA device: forward and inverse transform, selection, threshold and injection.

The multi-pass ones are written in Numba and do everything; those in ``fused``, CUDA C++, do most batches of images.

Importing it needs no driver; calling it does. :mod:`wavestream.kernels` calls it for arrays with
``__cuda_array_interface__``.
"""
