"""Injection in CUDA C++, compiled through CuPy: an image stays in shared memory from its first pixel to its last.

Images too large for that have their finest levels done by tiles. Importing it needs neither CuPy nor a driver.
"""
