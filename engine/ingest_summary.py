"""What an ingest did, for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wavestream.engine.frame import Note

_PREFIX = "quarantined: "
NOTE_TEXTS: dict[str, str] = {
    Note.MULTI_FRAME: "are frames of multi-frame files",
    Note.COLOUR: "were converted from colour to luma",
    Note.INVERTED: "are MONOCHROME1 (lowest value white)",
    Note.MODALITY_LUT: "were mapped through a modality LUT",
    Note.VOI_LUT: "have a VOI LUT, used as a window over its input",
    Note.SLOPE_REPAIRED: "state a rescale slope of 0 or no number, read as 1",
    Note.FULL_RANGE: "have no window: it spans their own pixels",
}


@dataclass(frozen=True)
class IngestSummary:
    """The outcome of an ingest; ``str()`` of it is for people.

    Attributes:
        store: path of the store.
        stored: number of images stored.
        files: number of input files.
        quarantined: reason -> number of input files not stored for it.
        notes: what was done to how many images; see ``frame.Note``.
        splits: part of the split -> number of images.
        quarantine_list: CSV that names the files not stored.
        messages: what the user should know.
    """

    store: Path
    stored: int
    files: int
    quarantined: dict[str, int]
    notes: dict[str, int]
    splits: dict[str, int]
    quarantine_list: Path
    messages: tuple[str, ...] = ()

    def __str__(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        refused = sum(self.quarantined.values())
        lines = [f"{self.store}: {self.stored} images from {self.files - refused} of {self.files} files ({splits})"]
        lines += [f"  {self.notes[note]} {text}" for note, text in NOTE_TEXTS.items() if note in self.notes]
        if refused:
            lines.append(f"{refused} files not stored, listed in {self.quarantine_list}:")
            lines += [f"  {count} {reason}" for reason, count in self.quarantined.items()]
        return "\n".join(lines)


def count_quarantined(reasons: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason as they stand in a store's header."""
    return {f"{_PREFIX}{reason}": count for reason, count in sorted(reasons.items())}


def quarantined(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason from those in a store's header: what :func:`count_quarantined` was given."""
    return {name.removeprefix(_PREFIX): count for name, count in counts.items() if name.startswith(_PREFIX)}
