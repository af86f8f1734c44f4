"""Why an input was not stored: a fixed reason, and a detail that never carries what identifies a patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Reason(StrEnum):
    """The classes that the ingest summary counts; the value is the text a user reads."""

    NOT_AN_IMAGE = "not an image file"
    UNREADABLE = "cannot be opened"
    MEDIA_DIRECTORY = "DICOMDIR, a directory of images"
    NO_PIXELS = "no pixel data"
    FLOATING_POINT = "floating-point pixels"
    TOO_DEEP = "more than 16 bits stored"
    TOO_LARGE = "larger than the limits"
    TOO_LARGE_FOR_LAYERS = "larger than codec 'layers' takes; codec 'zstd' stores it"
    CONTRADICTORY = "header contradicts itself or the pixel data"
    TRUNCATED = "truncated"
    UNSUPPORTED = "unsupported encoding"
    UNDECODABLE = "decoder refused the data"
    DAMAGED = "damaged"
    OUT_OF_MEMORY = "memory limit reached"
    TIMEOUT = "time limit reached"
    CRASHED = "decoder crashed"
    UNLABELLED = "no row in the label file"
    UNWRITABLE = "cannot be written"  # no fault of the input: ends the ingest


@dataclass(frozen=True, slots=True)
class Rejection:
    """One input that goes to quarantine."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)


class Rejected(Exception):
    """Raised while an input is read; carries the :class:`Rejection`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(str(Rejection(reason, detail)))
        self.rejection = Rejection(reason, detail)


def rejecting(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | Rejection:
    """Call ``function`` and return its result, or a :class:`Rejection` in place of any error.

    Hostile bytes make third-party readers raise almost anything, with messages that may quote element values. Only
    the type of an unforeseen error is kept.
    """
    try:
        return function(*args, **kwargs)
    except Rejected as error:
        return error.rejection
    except MemoryError:
        return Rejection(Reason.OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - the rejection is the report, and one file must not end the ingest
        if isinstance(error, OSError) and error.strerror is not None:  # from the operating system, not from Pillow
            return Rejection(Reason.UNREADABLE, error.strerror)
        return Rejection(Reason.DAMAGED, type(error).__name__)
