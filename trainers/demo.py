"""The main job in one call: images to store to trained models to a report, on drawn phantoms or on the user's data."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from wavestream.engine.errors import InputError
from wavestream.engine.ingest import IngestConfig, ingest
from wavestream.engine.store import Store, open_store
from wavestream.engine.transform import Transform
from wavestream.trainers.configuration import Optimiser
from wavestream.trainers.findings import FINDINGS
from wavestream.trainers.phantom import write_phantoms
from wavestream.trainers.study import StudyConfig, study

PHANTOM_TARGET = "nodule"
PROBABILITIES = (0.0, 0.75)
BATCH_SIZE = 16
# A quarter of a few hundred images is the least that gives an interval worth looking at.
FRACTIONS = (0.6, 0.15, 0.25)


@dataclass(frozen=True)
class Effort:
    """How much is computed.

    Attributes:
        image_size: rows and cols of the network's input in pixels.
        epochs: passes over the train split.
    """

    image_size: int
    epochs: int


# Measured on two CPU cores: the phantoms in less than five minutes in all.
PHANTOM_EFFORT = Effort(image_size=64, epochs=14)
DATA_EFFORT = Effort(image_size=96, epochs=12)


def demo(
    out: str | os.PathLike[str] = "wavestream-demo",
    data: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    target: str | None = None,
    *,
    images: int = 300,
    epochs: int | None = None,
    image_size: int | None = None,
    seeds: tuple[int, ...] = (0,),
    model: str = "resnet50",
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
) -> Path:
    """Ingest, train clean and with 75 % injected artifacts, test at every compression level, and write a report.

    Without ``data`` the images are phantom chest X-rays, drawn and written as DICOM files first; five of them are
    broken. Started again with the same arguments, it does what is missing.

    Args:
        out: folder for everything it leaves: ``report.html``, ``results.csv``, ``plots/``, ``trials/``, ``store.zarr``,
            and ``phantoms/`` without ``data``.
        data: folder of DICOM, PNG, JPEG or NPY files; None: phantoms.
        labels: CSV with a row per file of ``data``.
        target: label column to predict; None: ``nodule`` for the phantoms, else the first label column with classes.
        images: how many phantoms to write.
        epochs: passes over the train split; None: a number that suits.
        image_size: side of the network's input in pixels; None: a number that suits.
        seeds: of training; several make the result firmer and take longer.
        model: name of a torchvision classifier.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads; None: all.
        progress: show progress bars, and say at the end where to look.

    Returns:
        The path of the report.

    Raises:
        InputError: ``data`` without ``labels`` or the other way round; whatever ingest or study find wrong.
    """
    if (data is None) != (labels is None):
        given, missing = ("data", "labels") if labels is None else ("labels", "data")
        raise InputError(
            f"expected data and labels together, got {given} alone: give {missing} too (a folder of images, and a CSV "
            "with a row per image: file, patient_id and the columns to predict), or neither for phantoms"
        )
    folder = Path(out)
    effort = PHANTOM_EFFORT if data is None else DATA_EFFORT
    if data is None:
        target = target or PHANTOM_TARGET
        labels = _phantoms(folder / "phantoms", images, progress)
        data = labels.parent / "dicom"
    assert labels is not None
    store = folder / "store.zarr"
    summary = ingest(
        Path(data),
        store,
        Path(labels),
        config=IngestConfig(fractions=FRACTIONS, stratify=target, workers=threads),
        progress=progress,
    )
    if progress:
        print(summary, flush=True)
    side = image_size or effort.image_size
    config = StudyConfig(
        store=str(store),
        out=str(folder),
        target=target or _first_target(open_store(store)),
        model=model,
        probabilities=PROBABILITIES,
        seeds=seeds,
        transform=Transform(image_size=(side, side)),
        optimiser=Optimiser(epochs=epochs or effort.epochs, batch_size=BATCH_SIZE),
        device=device,
        threads=threads,
    )
    report = study(config, progress)
    if progress:
        print(_where_to_look(report))
    return report


def _phantoms(folder: Path, images: int, progress: bool) -> Path:
    """The labels of the phantom set, which is written unless it is there: writing ends with labels.csv."""
    labels = folder / "labels.csv"
    if labels.is_file():
        with labels.open(newline="", encoding="utf-8") as file:
            there = sum(1 for _ in csv.reader(file)) - 1
        if there == images:
            return labels
        raise InputError(
            f"{folder} holds {there} phantoms, {images} were asked for: give another folder, or delete {folder.parent}"
        )
    return write_phantoms(folder, images, progress=progress)


def _first_target(store: Store) -> str | None:
    """The first label column with classes; None without one, which the study has words for."""
    return next((name for name in store.labels if store.categories(name) is not None), None)


def _where_to_look(report: Path) -> str:
    folder = report.parent
    found = "\n".join(f"  {line}" for line in (folder / FINDINGS).read_text(encoding="utf-8").splitlines())
    return (
        f"\n{found}\n\n"
        f"report   {report}\n"
        f"numbers  {folder / 'results.csv'}\n"
        f"plots    {folder / 'plots'}\n"
        f"store    {folder / 'store.zarr'}"
    )
