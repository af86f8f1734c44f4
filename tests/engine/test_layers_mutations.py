"""Mutated streams: each decodes or raises CodecError; none crashes, hangs, or allocates beyond its header's bound."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

COUNT = int(os.environ.get("WAVESTREAM_MUTATIONS", "2000"))
SEED = int(os.environ.get("WAVESTREAM_MUTATIONS_SEED", "4"))


def test_mutated_streams_decode_or_raise(tmp_path: Path) -> None:
    script = Path(__file__).with_name("format_mutations.py")
    progress = tmp_path / "number"
    command = [sys.executable, str(script), str(COUNT), str(SEED), str(progress)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    number = progress.read_text().strip() if progress.exists() else "none"
    assert done.returncode == 0, (
        f"mutation {number} of seed {SEED} ended with {done.returncode}:\n{done.stderr[-3000:]}"
    )
    total, decoded, refused = map(int, re.findall(r"\d+", done.stdout))
    assert total == COUNT
    # Both happen often, or the mutations would show nothing.
    assert decoded > COUNT // 50
    assert refused > COUNT // 4
