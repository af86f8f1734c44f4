"""What reaches the network: the loader alone, and training on one resident batch against training from the loader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from wavestream.benchmarks.bench_loader import Setting as StoreSetting
from wavestream.benchmarks.bench_loader import synthesise
from wavestream.benchmarks.gpu_clock import synchronise
from wavestream.benchmarks.gpu_setting import Row, Setting
from wavestream.bindings.loader import DataLoader
from wavestream.engine.artifacts import Artifacts
from wavestream.engine.store import open_store
from wavestream.engine.transform import Transform
from wavestream.trainers.classifier import Classifier
from wavestream.trainers.configuration import Optimiser
from wavestream.trainers.networks import build_network

CLASSES = 2
ARTIFACTS: dict[str, Artifacts | None] = {
    "clean": None,
    "source domain, p = 0.75": Artifacts(0.75),
    "input domain, p = 0.75": Artifacts(0.75, domain="input"),
}
# Batches before the clock starts: kernels compile, cuDNN chooses, the loader's queues fill.
WARM_UP = 5
STEPS_AHEAD = 8


def make_store(setting: Setting) -> Iterator[Row]:
    """Write the synthetic store that the other sections read."""
    begin = time.perf_counter()
    made = synthesise(Path(setting.store).parent, StoreSetting(setting.store_images, setting.store_size))
    made.rename(setting.store)
    stored = sum(file.stat().st_size for file in Path(setting.store).rglob("*") if file.is_file())
    yield {
        "store": f"{setting.store_images} images of {setting.store_size} x {setting.store_size}, uint16",
        "MB": stored / 1e6,
        "seconds to write": time.perf_counter() - begin,
    }


def endless_loader(setting: Setting, artifacts: Artifacts | None) -> DataLoader:
    """A loader whose one epoch is longer than any measurement: images are drawn with replacement."""
    store = open_store(setting.store)
    train = range(len(store.split_indices("train")))
    sampler = torch.utils.data.RandomSampler(train, replacement=True, num_samples=100_000 * setting.batch_size)
    transform = Transform((setting.input_size, setting.input_size), rotate=True, flip=True)
    return DataLoader(
        store,
        batch_size=setting.batch_size,
        transform=transform,
        artifacts=artifacts,
        sampler=sampler,
        device=setting.device,
    )


def loaders(setting: Setting) -> Iterator[Row]:
    """Images per second of the loader with nobody using them but a sum."""
    for name, artifacts in ARTIFACTS.items():
        rate = _rate(_fed(setting, artifacts, torch.sum), setting, setting.loader_seconds)
        yield {"loader": name, "images/s": rate, "images per batch": setting.batch_size}


def trainings(setting: Setting) -> Iterator[Row]:
    """Images per second of training in bfloat16, and the share of the rate on one batch that stays on the device."""
    resident = torch.randn(setting.batch_size, 1, setting.input_size, setting.input_size, device=setting.device)
    step = training_step(setting)
    fastest = _rate(lambda: step(resident), setting, setting.training_seconds)
    title = f"{setting.model}, bfloat16, batches of {setting.batch_size}"
    yield {title: "one resident batch", "images/s": fastest, "of the resident rate": 1.0}
    for name, artifacts in ARTIFACTS.items():
        rate = _rate(_fed(setting, artifacts, step), setting, setting.training_seconds)
        yield {title: f"loader, {name}", "images/s": rate, "of the resident rate": rate / fastest}


def training_step(setting: Setting) -> Callable[[Tensor], Tensor]:
    """A function that takes a batch of images and trains one step on them, with random labels."""
    device = torch.device(setting.device)
    classifier = Classifier(build_network(setting.model, CLASSES), (1.0,) * CLASSES, Optimiser(), 0).to(device).train()
    optimizer = classifier.configure_optimizers()
    labels = torch.randint(0, CLASSES, (setting.batch_size,), device=device)
    torch.backends.cudnn.benchmark = True

    def step(images: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = classifier.training_step((images, labels), 0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _fed(setting: Setting, artifacts: Artifacts | None, use: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
    """A step that uses the next batch of a loader."""
    batches = iter(endless_loader(setting, artifacts))
    return lambda: use(next(batches)[0])


def _rate(step: Callable[[], Tensor], setting: Setting, seconds: float) -> float:
    """Images per second of steps that each take a batch, over some seconds after the warm-up."""
    for _ in range(WARM_UP):
        step()
    synchronise(setting.device)
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        result = step()
        steps += 1
        if steps % STEPS_AHEAD == 0:
            # The host may be ahead of the device by so many steps, not by all of them.
            synchronise(setting.device)
    synchronise(setting.device)
    elapsed = time.perf_counter() - begin
    if not torch.isfinite(result):
        raise ArithmeticError(f"a step gave {result.item()}: the images or the loss are not finite")
    return steps * setting.batch_size / elapsed
