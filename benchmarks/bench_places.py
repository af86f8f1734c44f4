"""The places where artifacts can be made, against each other: python -m wavestream.benchmarks.bench_places

One loader per domain and place (:mod:`wavestream.engine.injection`), and a clean one, over the same synthetic store;
whole epochs, in interleaved rounds. Besides images per second the CPU time of the process per image is shown, which
other work on the machine disturbs less. ``--device cuda`` measures the same on a GPU.

``pytest benchmarks/bench_places.py`` runs the same loaders under pytest-benchmark.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wavestream.benchmarks.bench_loader import KEEPS, Setting, images_per_second, synthesise
from wavestream.benchmarks.rounds import Contest, circumstances, measure
from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.injection import PLACES
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform

SETTING = Setting(images=128)
CLEAN = ("clean", "")


@dataclass
class Epochs:
    """An epoch of a loader with every call; remembers the CPU seconds that each took."""

    loader: DataLoader
    cpu_seconds: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        before = time.process_time()
        rate = images_per_second(self.loader)
        self.cpu_seconds.append(time.process_time() - before)
        return rate


def loaders(store: Store, setting: Setting, probability: float, device: str) -> dict[tuple[str, str], Epochs]:
    """The loaders by (domain, place), the default place of each domain first."""

    def load(artifacts: Artifacts | None, place: str | None) -> Epochs:
        transform = Transform((setting.input_size, setting.input_size))
        loader = DataLoader(store, batch_size=setting.batch_size, transform=transform, artifacts=artifacts,
                            threads=setting.threads, device=device, place=place)  # fmt: skip
        return Epochs(loader)

    return {CLEAN: load(None, None)} | {
        (domain, place): load(Artifacts(probability, KEEPS, domain), place)
        for domain, places in PLACES.items()
        for place in places
    }


def report(store: Store, setting: Setting, probability: float, device: str) -> str:
    """Measure, and give the table: rates, CPU time, and the ratio to the default place of the domain."""
    epochs = loaders(store, setting, probability, device)
    images = len(store.split_indices("train"))
    runs = {" ".join(key): run for key, run in epochs.items()}
    rates = measure(Contest((), images, setting.threads, dict(runs)), setting.rounds).rates
    lines = ["| domain | place | images/s | CPU ms/image | ratio to the default |", "|---|---|---|---|---|"]
    for (domain, place), run in epochs.items():
        rate = rates[f"{domain} {place}"]
        cost = 1000 * statistics.median(run.cpu_seconds[-setting.rounds :]) / images
        base = "" if domain not in PLACES else f"{rate / rates[f'{domain} {PLACES[domain][0]}']:.2f}"
        lines.append(f"| {domain} | {place} | {rate:,.0f} | {cost:.2f} | {base} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Where artifacts are made: feeding the graph, in it, or after it")
    for name in Setting.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(SETTING, name))
    parser.add_argument("--probability", type=float, default=0.75, help="of compressing a sample")
    parser.add_argument("--device", default="cpu")
    options = vars(parser.parse_args(arguments))
    probability, device = options.pop("probability"), options.pop("device")
    setting = Setting(**options)
    print(circumstances(f"{setting}, probability {probability}, {device}"), end="\n\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(report(open_store(synthesise(Path(folder), setting)), setting, probability, device))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Synthetic images, for pytest-benchmark."""
    return open_store(synthesise(tmp_path_factory.mktemp("places"), SETTING))


@pytest.mark.parametrize(
    ("domain", "place"), [CLEAN, *((d, place) for d, places in PLACES.items() for place in places)]
)
def test_speed(benchmark: Any, store: Store, domain: str, place: str) -> None:
    """One loader under pytest-benchmark."""
    epochs = loaders(store, SETTING, 0.75, "cpu")[domain, place]
    benchmark.group = domain
    assert benchmark.pedantic(epochs, rounds=SETTING.rounds, warmup_rounds=1) > 0


if __name__ == "__main__":
    main()
