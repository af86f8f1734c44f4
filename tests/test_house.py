"""The house stands as docs say: packages, links and tree agree; imports run downwards; the facade stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("kernels", "engine", "bindings", "trainers", "benchmarks")
MAY_IMPORT = {floor: set(FLOORS[: position + 1]) for position, floor in enumerate(FLOORS)}
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _sources(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def test_every_package_of_the_tree_is_listed_and_mapped() -> None:
    """A forgotten nested package would be missing from the wheel with nothing but a warning."""
    tree = {"wavestream"} | {
        ".".join(("wavestream", *init.parent.relative_to(ROOT).parts))
        for floor in FLOORS
        for init in (ROOT / floor).rglob("__init__.py")
    }
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == tree
    folders = {name: str(ROOT / folder) for name, folder in CONFIG["tool"]["setuptools"]["package-dir"].items()}
    assert folders == {"wavestream": str(ROOT / "wavestream")} | {
        name: str(ROOT.joinpath(*name.split(".")[1:])) for name in tree - {"wavestream"}
    }


def test_every_folder_with_code_is_a_package() -> None:
    for floor in FLOORS:
        for source in _sources(floor):
            assert (source.parent / "__init__.py").is_file(), f"{source} lies in a folder without __init__.py"


@pytest.mark.parametrize("floor", FLOORS)
def test_links_of_the_facade_are_relative_and_lead_to_their_floor(floor: str) -> None:
    link = ROOT / "wavestream" / floor
    assert link.is_symlink()
    assert link.readlink() == Path("..") / floor


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_downwards(floor: str) -> None:
    for source in _sources(floor):
        for node in ast.walk(ast.parse(source.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                parts = name.split(".")
                if parts[0] == "wavestream" and len(parts) > 1:
                    assert parts[1] in MAY_IMPORT[floor], f"{source.relative_to(ROOT)} imports {name}"


def _modules_after(statement: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in printed.stdout.split()}


def test_importing_the_facade_imports_no_framework() -> None:
    assert not _modules_after("import wavestream") & {"torch", "nvidia", "cupy", "numba", "lightning", "zarr"}


def test_kernels_and_engine_import_no_training_framework() -> None:
    names = [
        ".".join(("wavestream", *source.relative_to(ROOT).with_suffix("").parts))
        for floor in ("kernels", "engine")
        for source in _sources(floor)
        if source.name != "__init__.py"
    ]
    loaded = _modules_after("\n".join(f"import {name}" for name in names))
    assert not loaded & {"torch", "lightning", "torchvision"}


def test_names_of_the_facade_exist() -> None:
    import wavestream

    for name in wavestream.__all__:
        assert getattr(wavestream, name) is not None
    with pytest.raises(AttributeError, match="it has"):
        _ = wavestream.no_such_name


def test_no_file_takes_the_name_of_a_library_or_says_nothing() -> None:
    forbidden = {"utils", "helpers", "common", "misc", "base", "torch", "zarr", "numba", "pydicom", "lightning", "dali"}
    for floor in FLOORS:
        for source in _sources(floor):
            assert source.stem not in forbidden, source


def test_readme_shows_the_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "pip install -c constraints.txt -e '.[test]'" in readme
    assert "-m pytest" in readme
    script = (ROOT / ".ci" / "run").read_text()
    assert "install --quiet -c constraints.txt -e '.[test]'" in script


def test_constraints_are_names_and_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or line.count("==") == 1, line
        assert "://" not in line
        assert "@" not in line


def test_every_library_the_code_imports_is_a_declared_dependency() -> None:
    """A library that only comes along with another one disappears when that one stops needing it."""
    modules_of = {
        "google-crc32c": "google_crc32c", "jsonargparse[signatures]": "jsonargparse", "numba-cuda[cu13]": "numba",
        "nvidia-dali-cuda130": "nvidia", "pillow": "PIL", "pywavelets": "pywt", "cupy-cuda13x": "cupy",
        "pytorch-wavelets": "pytorch_wavelets", "scikit-learn": "sklearn",
    }  # fmt: skip
    project = CONFIG["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["gpu"]]
    declared += project["optional-dependencies"]["benchmark"] + project["optional-dependencies"]["remote"]
    names = [re.split(r"[<>=!~ ;]", line, maxsplit=1)[0].lower() for line in declared]
    known = {modules_of.get(name, name.replace("-", "_")) for name in names} | {"wavestream"} | sys.stdlib_module_names
    known |= {"llvmlite", "cupyx"}  # the language of Numba's intrinsics, in the version that Numba pins; a part of CuPy
    for floor in (*FLOORS, "wavestream"):
        for source in sorted((ROOT / floor).rglob("*.py")):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Import):
                    found = {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found = {(node.module or "").split(".")[0]}
                else:
                    continue
                assert found <= known, f"{source.relative_to(ROOT)} imports {found - known}, which nothing declares"
