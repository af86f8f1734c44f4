"""Series as numbers that mean nothing outside the store, and the order of the images in each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from wavestream.engine.frame import Scan


def place_in_series(accepted: Mapping[int, Scan]) -> dict[int, tuple[int, int]]:
    """Series number, in order of first appearance, and position of the first image of each file.

    Files of a series are ordered by instance number where all have one, else by their place along the normal of
    their plane where all have one, else as they come. A file without a series is one of its own.
    """
    members: dict[bytes | int, list[int]] = defaultdict(list)
    for index, scan in accepted.items():
        members[index if scan.series is None else scan.series].append(index)
    found: dict[int, tuple[int, int]] = {}
    for number, files in enumerate(members.values()):
        position = 0
        for index in _in_order(files, accepted):
            found[index] = (number, position)
            position += accepted[index].frames
    return found


def _in_order(files: Sequence[int], accepted: Mapping[int, Scan]) -> list[int]:
    instances = {index: scan.instance for index in files if (scan := accepted[index]).instance is not None}
    if len(instances) == len(files):
        return sorted(files, key=lambda index: (instances[index], index))
    places = {index: scan.along for index in files if (scan := accepted[index]).along is not None}
    if len(places) == len(files):
        return sorted(files, key=lambda index: (places[index], index))
    return list(files)
