"""A small store that can be learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def learnable_store(tmp_path_factory: pytest.TempPathFactory, write_store) -> Path:  # type: ignore[no-untyped-def]
    """80 noisy 8-bit images of 40 x 36, two of each patient; 40 train, 20 val, 20 test.

    Labels: ``sex`` (a square in the middle, for M), ``stage`` (three classes: how bright), ``single`` (one class only),
    ``age`` (numeric), ``rare`` (its second class is missing from the test split), ``unseen`` (its third class only in
    the test split), ``partial`` (sex, of every third patient missing).
    """
    count, random = 80, np.random.default_rng(3)
    patient = np.arange(count) // 2
    sex, stage = patient % 2, patient % 3
    split = np.repeat([0, 1, 2], [40, 20, 20])
    images = random.normal(90 + 25 * stage[:, None, None], 12, (count, 40, 36))
    images[:, 14:26, 12:24] += 60.0 * sex[:, None, None]
    return write_store(
        tmp_path_factory.mktemp("learnable") / "learnable.zarr",
        list(images.clip(0, 255).astype(np.uint8)),
        labels={
            "age": (random.uniform(20, 90, count), None),
            "partial": (np.where(patient % 3 == 0, -1, sex), ("F", "M")),
            "rare": (sex * (split != 2), ("no", "yes")),
            "sex": (sex, ("F", "M")),
            "single": (np.zeros(count), ("only",)),
            "stage": (stage, ("I", "II", "III")),
            "unseen": (np.where(split == 2, sex + 1, sex), ("a", "b", "c")),
        },
        patient=patient.astype(np.uint64) + np.uint64(1 << 63),
        split=split,
        window_center=128.0,
        window_width=255.0,
        bits_stored=8,
    )
