"""What a GPU report measures, as its sections hand it on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# One line of a section's table: column -> value.
Row = dict[str, Any]

# Images per second that issue 3 asks of the fused path on an H200, float32, by side in pixels.
BARS = {224: 3_000_000, 512: 300_000, 1024: 100_000}


@dataclass(frozen=True)
class Setting:
    """Sizes and lengths of all measurements; the defaults are for a data-centre GPU.

    Attributes:
        store: where the section ``store`` writes a store, and others read it.
        device: torch's name of the device; ``cpu`` runs the same code in tests.
        copy_bytes: size of the arrays that are copied.
        pixels: in one large batch; in and out together they should be several times the device's L2 cache.
        sizes: sides of square images in pixels.
        wavelets: to inject with.
        small_batch: images per call where a small batch is measured; it moves through the large one.
        rounds: of each measurement.
        round_seconds: length of one.
        store_images, store_size: how many images the store holds, and their side in pixels.
        batch_size: of loader and training.
        input_size: side of the network's input in pixels.
        loader_seconds, training_seconds: length of one measurement.
        model: name of a torchvision classifier.
    """

    store: str
    device: str = "cuda"
    copy_bytes: int = 1 << 30
    pixels: int = 100_000_000
    sizes: tuple[int, ...] = (224, 512, 1024)
    wavelets: tuple[str, ...] = ("bior4.4", "haar", "db4", "cdf53")
    small_batch: int = 32
    rounds: int = 7
    round_seconds: float = 0.03
    store_images: int = 256
    store_size: int = 512
    batch_size: int = 256
    input_size: int = 224
    loader_seconds: float = 6.0
    training_seconds: float = 8.0
    model: str = "resnet50"

    def write(self, path: Path) -> None:
        """Write the setting for :meth:`read`."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Setting:
        """What :meth:`write` wrote."""
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: tuple(field) for name, field in value.items() if isinstance(field, list)}
        return cls(**(value | lists))
