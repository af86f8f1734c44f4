"""Imported by the server that workers are forked from: it compiles the encoder once, so that no worker has to.

A worker would compile it under its memory limit, and again after every file that takes a worker down.
"""

import numpy as np

from wavestream.engine.layers import encode_image

for _dtype in ("uint8", "uint16", "int16", "int32"):
    encode_image(np.zeros((16, 16), _dtype))
