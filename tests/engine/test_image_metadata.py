"""``images/zarr.json`` is what zarr-python itself would write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import zarr
from zarr.codecs import ZstdCodec

from wavestream.bindings.zarr_codec import LayersCodec
from wavestream.engine.image_metadata import image_metadata
from wavestream.engine.pixel_codecs import Canvas, PixelCodec


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("codec", ["layers", "zstd"])
def test_it_is_what_zarr_python_writes(tmp_path: Path, codec: Literal["layers", "zstd"], dtype: str) -> None:
    fractions = (0.001, 0.2)
    options: dict[str, Any] = {"serializer": LayersCodec(fractions), "compressors": None}
    if codec == "zstd":
        options = {"compressors": ZstdCodec(level=3)}
    zarr.create_array(
        tmp_path / "images",
        shape=(13, 5, 7),
        chunks=(1, 5, 7),
        shards=(4, 5, 7),
        dtype=dtype,
        filters=None,
        fill_value=0,
        dimension_names=("image", "row", "col"),
        **options,
    )
    written = json.loads((tmp_path / "images/zarr.json").read_text())
    ours = image_metadata(13, Canvas(5, 7, dtype), 4, PixelCodec(codec, fractions))
    assert json.loads(ours) == written
    (tmp_path / "images/zarr.json").write_bytes(ours)
    assert zarr.open_array(tmp_path / "images", mode="r").shape == (13, 5, 7)
