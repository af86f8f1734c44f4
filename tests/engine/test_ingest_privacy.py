"""What identifies a patient is neither in the store nor in anything that an ingest says."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from wavestream.engine.info import describe
from wavestream.engine.verify import verify

MakeDicom = Callable[..., Path]
MakeCsv = Callable[..., Path]

UID = "1.2.826.0.1.3680043.8.498.111222333444555"
PLANTED = {
    "PatientName": "Zebulon^Quarkmeister",
    "PatientBirthDate": "19410713",
    "OtherPatientNames": "Zebulonia^Quarkmeister",
    "PatientAddress": "Nowhere Lane 7",
    "AccessionNumber": "ACC998877",
    "InstitutionName": "Sanatorium Blaufels",
    "ReferringPhysicianName": "Physicus^Ottokar",
    "StudyDate": "20190228",
    "AcquisitionDateTime": "20190228174455",
    "StudyInstanceUID": UID,
    "SeriesInstanceUID": UID + ".1",
    "StudyID": "STUDY4711",
    "StudyDescription": "Thorax of Quarkmeister",
    "ImageComments": "Quarkmeister says hello",
}
WORDS = (
    *("zebulon", "quarkmeister", "19410713", "nowhere lane", "acc998877", "blaufels", "physicus", "20190228"),
    *(UID, "study4711", "pid-31337", "dr. csv", "mrn-5150", "1941-07-13", "confidential"),
)
SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from wavestream.engine.ingest import IngestConfig, ingest
print(ingest(sys.argv[1], sys.argv[2], sys.argv[3], config=IngestConfig(shard_images=2)))
"""


def find_words(content: bytes | str) -> set[str]:
    text = content.decode("latin-1") if isinstance(content, bytes) else content
    return {word for word in WORDS if word in text.lower()}


def test_planted_identifiers_are_nowhere(tmp_path: Path, make_dicom: MakeDicom, make_csv: MakeCsv) -> None:
    data = tmp_path / "confidential"
    pixels = np.random.default_rng(0).integers(0, 4096, (30, 20), dtype=np.uint16)
    rows = []
    for number in range(4):
        make_dicom(data / f"{number}.dcm", pixels + number, PatientID=f"PID-31337-{number % 2}", **PLANTED)
        rows.append(
            [
                f"{number}.dcm",
                f"PID-31337-{number % 2}",
                "Quarkmeister, Zebulon",
                "MRN-5150",
                "1941-07-13",
                "Dr. CSV",
                "MF"[number % 2],
            ]
        )
    # Files that go wrong must not tell either: elements where numbers should be, a header cut short, wrong syntax.
    broken = (data / "0.dcm").read_bytes()
    for number, damage in enumerate(
        [
            lambda content: content[:-50],
            lambda content: content[: len(content) // 3],
            lambda content: content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"),
            lambda content: content.replace(b"MONOCHROME2", b"QUARKMEIST."),
        ]
    ):
        (data / f"broken{number}.dcm").write_bytes(damage(broken))
        rows.append([f"broken{number}.dcm", "PID-31337-0", "Quarkmeister", "MRN-5150", "1941-07-13", "Dr. CSV", "M"])
    make_dicom(data / "odd.dcm", pixels, PatientID="PID-31337-9", NumberOfFrames=1, **PLANTED)
    content = (data / "odd.dcm").read_bytes()
    (data / "odd.dcm").write_bytes(content.replace(b"\x28\x00\x08\x00IS\x02\x001 ", b"\x28\x00\x08\x00IS\x02\x00Qz"))
    rows.append(["odd.dcm", "PID-31337-9", "Quarkmeister", "MRN-5150", "1941-07-13", "Dr. CSV", "F"])
    header = ["file", "patient_id", "patient_name", "MRN", "birth date", "referrer name", "sex"]
    labels = make_csv(header, *rows)

    store = tmp_path / "s.zarr"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, data, store, labels], capture_output=True, text=True, timeout=120, check=True
    )
    assert "4 images from 4 of 9 files" in done.stdout
    # The folder's name is a path, which the user may be told; nothing else may be.
    said = (done.stdout + done.stderr).replace(str(data), "").replace(str(store), "")
    assert find_words(said) == set()
    assert find_words(str(verify(store, progress=False)) + str(describe(store))) == set()

    files = [path for path in store.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        assert find_words(path.read_bytes()) == set(), path
        assert find_words(str(path.relative_to(store))) == set()
    group = zarr.open_group(store, mode="r")
    for name, array in group.members(max_depth=None):
        if isinstance(array, zarr.Array):
            assert find_words(np.asarray(array[...]).tobytes()) == set(), name
    manifest = tmp_path / "s.zarr.manifest"
    for path in [path for path in manifest.rglob("*") if path.is_file()]:
        assert find_words(path.read_text().replace(str(data), "")) == set(), path


def test_the_store_holds_no_date_of_its_making(tmp_path: Path, make_dicom: MakeDicom) -> None:
    from wavestream.engine.ingest import ingest

    make_dicom(tmp_path / "data/a.dcm", np.zeros((4, 4), np.uint16))
    ingest(tmp_path / "data", tmp_path / "s.zarr", progress=False)
    today = str(datetime.datetime.now(tz=datetime.UTC).date()).encode()
    assert not any(today in path.read_bytes() for path in (tmp_path / "s.zarr").rglob("*") if path.is_file())
