"""The settings of an ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from wavestream.engine.errors import InputError
from wavestream.engine.layer_fractions import check_layer_fractions
from wavestream.engine.layers import DEFAULT_FRACTIONS
from wavestream.engine.limits import Limits
from wavestream.engine.pixel_codecs import PixelCodec
from wavestream.engine.split import check_fractions


@dataclass(frozen=True)
class IngestConfig:
    """How images and labels become a store.

    Attributes:
        file_column: CSV column that names the image files; None: ``file``, ``filename``, ``path`` or ``image``.
        patient_column: CSV column that names the patients; None: ``patient_id``, ``patient`` or ``PatientID`` where
            there is one, else the DICOM patient ID, else each file is its own patient.
        label_columns: CSV columns to store; None: all but those that look as if they identified someone.
        split_column: CSV column that says ``train``, ``val`` or ``test``; None: a split is made.
        stratify: CSV column whose classes the split keeps in proportion; None: the first stored column with
            categories; ``"none"``: no stratification.
        unlabelled: what to do with images that have no row: ``"error"``; ``"keep"`` stores them with labels missing;
            ``"skip"`` leaves them out.
        fractions: shares of train, val and test, by patient; they sum to 1.
        seed: seed of the split.
        codec: ``"layers"``: a prefix of an image's bytes is the image at a compression level, the whole is lossless;
            ``"zstd"``: every Zarr reader can read it, whole images only.
        layers: the compression levels of ``codec="layers"``: fractions of an image's coefficients, ascending, at most
            7; keeping one of these reads no byte too many, keeping another reads the next larger one's bytes.
        shard_images: images per shard file; an interrupted ingest loses at most this many.
        workers: worker processes; None: one for each processor.
        limits: what one file may cost.
        overwrite: replace a store that is there already.
    """

    file_column: str | None = None
    patient_column: str | None = None
    label_columns: Sequence[str] | None = None
    split_column: str | None = None
    stratify: str | None = None
    unlabelled: Literal["error", "keep", "skip"] = "error"
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    codec: Literal["layers", "zstd"] = "layers"
    layers: tuple[float, ...] = DEFAULT_FRACTIONS
    shard_images: int = 256
    workers: int | None = None
    limits: Limits = field(default_factory=Limits)
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_fractions(self.fractions)
        if self.unlabelled not in ("error", "keep", "skip"):
            raise InputError(f"unlabelled: expected 'error', 'keep' or 'skip', got {self.unlabelled!r}")
        if self.codec not in ("layers", "zstd"):
            raise InputError(f"codec: expected 'layers' or 'zstd', got {self.codec!r}")
        object.__setattr__(self, "layers", check_layer_fractions(self.layers))
        if self.codec == "zstd" and self.layers != DEFAULT_FRACTIONS:
            raise InputError(f"layers: expected none with codec 'zstd', which has no layers, got {self.layers}")
        if self.shard_images < 1:
            raise InputError(f"shard_images: expected at least 1, got {self.shard_images}")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers: expected at least 1, got {self.workers}")
        if isinstance(self.label_columns, str):
            raise InputError(f"label_columns: expected a list of names, got the text {self.label_columns!r}")

    @property
    def pixel_codec(self) -> PixelCodec:
        """How the images are encoded."""
        return PixelCodec(self.codec, self.layers)
