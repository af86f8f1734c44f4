"""Runs ``simulated_battery.py`` in Numba's CUDA simulator.

The simulator replaces the whole of ``numba.cuda`` and has to be chosen before Numba is imported: hence a second
process, so that no other test sees it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BATTERY = Path(__file__).with_name("simulated_battery.py")


@pytest.mark.slow
def test_simulated_battery() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", str(BATTERY)]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    # The plug-ins of this run (workers, coverage) are not for that one.
    environment.pop("PYTEST_ADDOPTS", None)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if result.returncode != 0:
        pytest.fail(f"in the simulator:\n{result.stdout}\n{result.stderr}", pytrace=False)
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None, result.stdout
    assert int(passed[1]) > 30, result.stdout
    assert "skipped" not in result.stdout, result.stdout


def test_this_process_is_not_simulated() -> None:
    from numba import config

    assert "NUMBA_ENABLE_CUDASIM" not in os.environ
    assert not config.ENABLE_CUDASIM
