"""NPY files as frames, against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wavestream.engine.frame import Frame
from wavestream.engine.limits import Limits
from wavestream.engine.numpy_file import read_npy, scan_npy
from wavestream.engine.rejection import Reason, Rejection, rejecting

LIMITS = Limits()
RANDOM = np.random.default_rng(6)


def read(path: Path, limits: Limits = LIMITS) -> Frame:
    (frame,) = read_npy(path, limits)
    return frame


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def refusal(path: Path, limits: Limits = LIMITS) -> Rejection:
    found = rejecting(read, path, limits)
    assert isinstance(found, Rejection)
    assert rejecting(scan_npy, path, limits) == found
    return found


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">u2", "<i2", ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_narrow_integers_are_what_was_saved(tmp_path: Path, dtype: str, order: str) -> None:
    info = np.iinfo(dtype)
    array = RANDOM.integers(info.min, info.max, (5, 8), endpoint=True).astype(dtype, order=order)
    path = save(tmp_path / "a.npy", array)
    frame, scan = read(path), scan_npy(path, LIMITS)
    np.testing.assert_array_equal(frame.pixels, array)
    assert (scan.rows, scan.cols, scan.low, scan.high) == (5, 8, info.min, info.max)
    assert (frame.bits_stored, frame.signed) == (info.bits, info.min < 0)


@pytest.mark.parametrize(
    ("low", "high", "bits", "signed"),
    [(0, 255, 8, False), (0, 256, 16, False), (0, 65535, 16, False), (-1, 255, 16, True), (-32768, 32767, 16, True)],
)
def test_wide_integers_take_the_bits_that_their_values_need(
    tmp_path: Path, low: int, high: int, bits: int, signed: bool
) -> None:
    frame = read(save(tmp_path / "a.npy", np.array([[low, high]])))
    assert (frame.pixels.tolist(), frame.bits_stored, frame.signed) == ([[low, high]], bits, signed)


def test_booleans_are_one_bit(tmp_path: Path) -> None:
    frame = read(save(tmp_path / "a.npy", np.array([[True, False]])))
    assert (frame.pixels.tolist(), frame.bits_stored) == ([[1, 0]], 1)


@pytest.mark.parametrize(
    ("array", "reason", "detail"),
    [
        (np.array([[0, 65536]]), Reason.TOO_DEEP, "values from 0 to 65536"),
        (np.array([[-1, 65535]]), Reason.TOO_DEEP, "values from -1 to 65535"),
        (np.array([[1.0, 2.0]]), Reason.FLOATING_POINT, "integers are expected"),
        (np.array([[np.nan, 2.0, np.inf]]), Reason.FLOATING_POINT, "2 of them NaN or infinite; integers are expected"),
        (np.zeros((2, 3, 4), np.uint8), Reason.UNSUPPORTED, "3 dimensions"),
        (np.zeros(5, np.uint8), Reason.UNSUPPORTED, "1 dimensions"),
        (np.zeros((0, 5), np.uint8), Reason.CONTRADICTORY, "0 rows"),
        (np.zeros((2, 2), complex), Reason.UNSUPPORTED, "complex128"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, reason: Reason, detail: str) -> None:
    found = refusal(save(tmp_path / "a.npy", array))
    assert found.reason is reason
    assert detail in found.detail


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{}, None]]), allow_pickle=True)
    assert refusal(tmp_path / "a.npy") == Rejection(Reason.UNSUPPORTED, "an array of Python objects")


def test_truncation_and_claimed_size(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.zeros((40, 40), np.uint16))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert refusal(path) == Rejection(Reason.TRUNCATED, "the array needs 3200 bytes, 3199 are there")
    path.write_bytes(whole.replace(b"(40, 40)", b"(9999999999, 9999999999)"))
    assert refusal(path).reason in (Reason.TOO_LARGE, Reason.DAMAGED)
    path.write_bytes(whole[:20])
    assert refusal(path).reason is Reason.DAMAGED
