"""The lock of a store: held by one process, and let go of when it dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wavestream.engine.errors import InputError
from wavestream.engine.lock import exclusive

HOLD = "from wavestream.engine.lock import exclusive; from pathlib import Path; import sys, time\n"
HOLD += "with exclusive(Path(sys.argv[1]), 'x'): print('held', flush=True); time.sleep(60)"


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "lock"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        held_by = f"s.zarr is in use by another run .process {other.pid} on"
        with pytest.raises(InputError, match=held_by), exclusive(tmp_path / "lock", "s.zarr"):
            pass
        other.kill()
    with (
        exclusive(tmp_path / "lock", "s.zarr"),
        pytest.raises(InputError, match="another run"),
        exclusive(tmp_path / "lock", "s.zarr"),
    ):
        pass
    with exclusive(tmp_path / "lock", "s.zarr"):
        assert "process" in (tmp_path / "lock").read_text()
