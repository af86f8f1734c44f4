"""A labelled set of phantom chest X-rays as real DICOM files: many transfer syntaxes, windows and sizes, some broken.

The images are drawn (see :mod:`wavestream.trainers.anatomy`), so nobody's data is in them; the files are what a
hospital archive hands over, including the ones that cannot be read.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from tqdm import tqdm

from wavestream.engine.errors import InputError
from wavestream.trainers.anatomy import Body, draw_body, draw_chest
from wavestream.trainers.phantom_dicom import (
    DAMAGES,
    FIXED_BITS,
    SYNTAXES,
    FileForm,
    Person,
    build_dataset,
    quantise,
    to_bytes,
    write_file,
)

LABEL_COLUMNS = ("file", "patient_id", "nodule", "age", "sex")


@dataclass(frozen=True)
class Phantom:
    """One image of the set.

    Attributes:
        index: number of the image in the set, from 0.
        patient: number of its patient.
        number: number of the image among those of its patient, from 1.
        nodule: whether lung nodules are present.
        age: of the patient, in years.
        sex: of the patient, ``"F"`` or ``"M"``.
        body: proportions of the patient.
    """

    index: int
    patient: int
    number: int
    nodule: bool
    age: int
    sex: str
    body: Body

    @property
    def patient_id(self) -> str:
        """Identifier of the patient in labels.csv and in the file."""
        return f"PHANTOM{self.patient:04d}"

    @property
    def file(self) -> str:
        """Path of the file, relative to labels.csv."""
        return f"dicom/phantom{self.patient:04d}_{self.number}.dcm"


def plan_phantoms(count: int, seed: int) -> list[Phantom]:
    """Who is in the set: patients with one to three images each, nodules in all images of every second patient."""
    rng = np.random.default_rng([seed, 0])
    phantoms: list[Phantom] = []
    patient = 0
    while len(phantoms) < count:
        sex = "F" if rng.random() < 0.5 else "M"
        age = int(rng.integers(25, 90))
        body = draw_body(rng, female=sex == "F")
        images = min(int(rng.integers(1, 4)), count - len(phantoms))
        phantoms += [
            Phantom(len(phantoms) + number, patient, number + 1, patient % 2 == 1, age, sex, body)
            for number in range(images)
        ]
        patient += 1
    return phantoms


def draw_phantom(
    phantom: Phantom, seed: int, size: tuple[int, int], syntax: uid.UID
) -> tuple[NDArray[np.uint16], FileForm]:
    """Stored pixels of a phantom ``(rows, cols)`` and the form of its file, for a transfer syntax."""
    rng = np.random.default_rng([seed, 1, phantom.index])
    rows, cols = (int(side) for side in rng.integers(size[0], size[1] + 1, size=2))
    bits_stored = int(rng.choice((12, 14, 16), p=(0.6, 0.2, 0.2)))
    form = FileForm(
        syntax=syntax,
        bits_stored=FIXED_BITS.get(syntax, bits_stored),
        inverted=bool(rng.random() < 0.15),
        window=str(rng.choice(("one", "two", "sigmoid", "none"))),
        border=int(rng.integers(2, max(3, size[0] // 24))) if rng.random() < 0.3 else 0,
    )
    return quantise(draw_chest(phantom.body, rows, cols, phantom.nodule, rng), form), form


def encode_phantom(phantom: Phantom, seed: int, size: tuple[int, int], damage: int | None = None) -> bytes:
    """The DICOM file of one phantom.

    Args:
        phantom: what to draw.
        seed: of the set; the file depends on it, the phantom and ``size`` alone.
        size: smallest and largest side in pixels.
        damage: which entry of ``DAMAGES`` breaks the file; None for a file that can be read.
    """
    syntax = SYNTAXES[phantom.index % len(SYNTAXES)] if damage is None else DAMAGES[damage][1]
    pixels, form = draw_phantom(phantom, seed, size, syntax)
    person = Person(phantom.patient_id, phantom.age, phantom.sex, entropy=f"wavestream {seed} {phantom.patient}")
    dataset = build_dataset(pixels, form, person, phantom.number)
    return to_bytes(dataset) if damage is None else DAMAGES[damage][0](dataset)


def write_phantoms(
    folder: str | os.PathLike[str],
    count: int = 300,
    seed: int = 0,
    broken: int = 5,
    size: tuple[int, int] = (320, 448),
    progress: bool = True,
) -> Path:
    """Write ``folder/dicom/*.dcm`` and ``folder/labels.csv``: chest X-rays with and without lung nodules.

    Args:
        folder: where to write; made when missing. Files of the same names are replaced.
        count: number of files, the broken ones included.
        seed: of everything random: the same seed gives the same files, byte for byte.
        broken: how many files are damaged, spread over the set, each in the next of five ways.
        size: smallest and largest side in pixels; rows and columns vary between them.
        progress: show a progress bar.

    Returns:
        The path of labels.csv: file (relative to the CSV), patient_id, nodule (yes or no), age, sex. Broken files are
        listed like the others.

    Raises:
        InputError: ``broken`` outside 0 to ``count``, or a smallest side below 64 pixels.
    """
    if not 0 <= broken <= count or count < 1:
        raise InputError(f"expected 0 <= broken <= count and count >= 1, got broken={broken} and count={count}")
    if not 64 <= size[0] <= size[1]:
        raise InputError(f"expected size as (smallest, largest) side, at least 64 pixels, got {size}")
    folder = Path(folder)
    (folder / "dicom").mkdir(parents=True, exist_ok=True)
    phantoms = plan_phantoms(count, seed)
    damaged = {int((number + 0.5) * count / broken): number % len(DAMAGES) for number in range(broken)}

    def write(phantom: Phantom) -> None:
        write_file(folder / phantom.file, encode_phantom(phantom, seed, size, damaged.get(phantom.index)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in tqdm(pool.map(write, phantoms), "writing phantoms", count, unit="file", disable=not progress):
            pass
    labels = folder / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LABEL_COLUMNS)
        writer.writerows((p.file, p.patient_id, "yes" if p.nodule else "no", p.age, p.sex) for p in phantoms)
    return labels
