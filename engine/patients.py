"""Who each image shows: taken from the label file or the header, kept in memory, and stored as a salted hash."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from wavestream.engine.errors import InputError
from wavestream.engine.frame import Scan
from wavestream.engine.ingest_config import IngestConfig
from wavestream.engine.labels import PATIENT_COLUMNS, LabelFile, find_column
from wavestream.engine.sources import Sources


def hash_patient(salt: bytes, patient: str) -> int:
    """The store's name for a patient: the first 8 bytes, big-endian, of HMAC-SHA256(salt, UTF-8 patient ID)."""
    digest = hmac.new(salt, patient.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big")


def name_patients(
    sources: Sources,
    accepted: Mapping[int, Scan],
    labels: LabelFile | None,
    rows: Mapping[int, int],
    config: IngestConfig,
    messages: list[str],
) -> dict[int, str]:
    """Patient ID of each accepted file: of its label row, else of its DICOM header, else one of its own.

    Raises:
        InputError: the patient column is not there, or empty in a row; names the line.
    """
    if labels is None and config.patient_column is not None:
        raise InputError(f"patient_column {config.patient_column!r} is given, but no label file")
    column = None if labels is None else find_column(labels, config.patient_column, PATIENT_COLUMNS, "patient column")
    patients: dict[int, str] = {}
    alone = 0
    for index, scan in accepted.items():
        stated = scan.patient
        if labels is not None and column is not None and index in rows:
            stated = labels.columns[column][rows[index]]
            if not stated:
                raise InputError(
                    f"{labels.path}, {labels.where([rows[index]])}: no patient in column {column!r}; without it the "
                    "split cannot keep patients apart"
                )
        alone += stated is None
        # No patient ID starts with a NUL, so a file that is its own patient cannot meet one.
        patients[index] = f"\0{sources.names[index]}" if stated is None else stated
    if alone:
        messages.append(
            f"{alone} files have no patient ID: each counts as its own patient; if patients have several images, "
            "name them in a patient_id column, or the split will mix them"
        )
    if len(patients) > 1 and len(set(patients.values())) == 1:
        messages.append(
            f"all {len(patients)} files have the same patient ID, so the split has one part only; if they show several "
            "patients, name them in a patient_id column"
        )
    return patients
