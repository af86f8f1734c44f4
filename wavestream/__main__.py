"""The command line: parse, call the function of the same name, turn its errors into one line and an exit status."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wavestream
from wavestream.engine.errors import InputError, WavestreamError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Command:
    """One subcommand: what it does, how its arguments are declared, and what runs it (returning the exit status)."""

    summary: str
    declare: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def _configuration(parser: ArgumentParser, module: str, name: str, skip: set[str] | None = None) -> None:
    """Declare one flag per field of a configuration dataclass, with its types, defaults and documentation."""
    parser.add_class_arguments(getattr(importlib.import_module(module), name), skip=skip or set())


def _configured(arguments: Namespace, module: str, name: str, **given: Any) -> Any:
    """Build the configuration dataclass from the flags declared by :func:`_configuration`."""
    cls = getattr(importlib.import_module(module), name)
    names = {field.name for field in dataclasses.fields(cls)}
    values = {key: value for key, value in vars(arguments).items() if key in names and key not in given}
    return cls(**values, **given)


def _quiet(parser: ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _declare_ingest(parser: ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="+",
        help="folders or files (DICOM, PNG, JPEG, NPY); a last one that ends in .zarr is the store to write",
    )
    parser.add_argument("--store", type=str, help="the store to write (default: <first source's name>.zarr, here)")
    parser.add_argument(
        "--labels", type=str, help="CSV with one row per image: a file column, labels, a patient column"
    )
    _quiet(parser)
    _configuration(parser, "wavestream.engine.ingest", "IngestConfig")


def _run_ingest(arguments: Namespace) -> int:
    from wavestream.engine.ingest import ingest

    config = _configured(arguments, "wavestream.engine.ingest", "IngestConfig")
    sources = [Path(source) for source in arguments.source]
    store = arguments.store
    if store is None and len(sources) > 1 and sources[-1].suffix == ".zarr":
        store = sources.pop()
    store = store or f"{sources[0].resolve().stem}.zarr"
    summary = ingest(
        sources[0] if len(sources) == 1 else sources,
        store,
        arguments.labels,
        config=config,
        progress=not arguments.quiet,
    )
    print(summary)
    return 0


def _declare_info(parser: ArgumentParser) -> None:
    parser.add_argument("store", help="a store written by `wavestream ingest`")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def _run_info(arguments: Namespace) -> int:
    from wavestream.engine.info import describe

    description = describe(arguments.store)
    print(json.dumps(description.to_json(), indent=2) if arguments.json else description)
    return 0


def _declare_verify(parser: ArgumentParser) -> None:
    parser.add_argument("store", help="a store written by `wavestream ingest`")
    _quiet(parser)


def _run_verify(arguments: Namespace) -> int:
    from wavestream.engine.verify import verify

    report = verify(arguments.store, progress=not arguments.quiet)
    print(report)
    return 0 if report.ok else EXIT_FAILED


def _declare_export(parser: ArgumentParser) -> None:
    from wavestream.engine.export import FORMATS, GUIDE, RESOLUTIONS

    parser.description = f"{parser.description}\n\n{GUIDE}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("store", help="a store written by `wavestream ingest`")
    parser.add_argument("out", help="folder to write, or to go on in")
    parser.add_argument("--format", choices=FORMATS, required=True, help="see above")
    parser.add_argument(
        "--keep",
        type=float,
        default=1.0,
        help="fraction of each image's cdf53 wavelet coefficients to keep; 1: lossless",
    )
    parser.add_argument(
        "--resolution",
        choices=tuple(RESOLUTIONS),
        default="full",
        help="of rows and columns; stores of the layers codec",
    )
    parser.add_argument("--jobs", type=int, help="threads (default: one for each processor)")
    _quiet(parser)


def _run_export(arguments: Namespace) -> int:
    from wavestream.engine.export import export

    summary = export(
        arguments.store,
        arguments.out,
        format=arguments.format,
        keep=arguments.keep,
        resolution=arguments.resolution,
        jobs=arguments.jobs,
        progress=not arguments.quiet,
    )
    print(summary)
    return 0


def _declare_run(parser: ArgumentParser, module: str, name: str) -> None:
    parser.add_argument("store", help="a store written by `wavestream ingest`")
    parser.add_argument("--config", action="config", help="YAML or JSON file with any of the options below")
    parser.add_argument("--out", type=str, help="folder to write, or to go on in (default: <store's name>-<command>)")
    _quiet(parser)
    _configuration(parser, module, name, skip={"store", "out"})


def _declare_train(parser: ArgumentParser) -> None:
    _declare_run(parser, "wavestream.trainers.configuration", "TrainConfig")


def _run_train(arguments: Namespace) -> int:
    from wavestream.trainers.train import train

    config = _configured_run(arguments, "wavestream.trainers.configuration", "TrainConfig", "train")
    print(train(config, progress=not arguments.quiet))
    return 0


def _declare_study(parser: ArgumentParser) -> None:
    _declare_run(parser, "wavestream.trainers.study_config", "StudyConfig")


def _run_study(arguments: Namespace) -> int:
    from wavestream.trainers.study import study

    config = _configured_run(arguments, "wavestream.trainers.study_config", "StudyConfig", "study")
    print(f"report: {study(config, progress=not arguments.quiet)}")
    return 0


def _declare_demo(parser: ArgumentParser) -> None:
    demo = importlib.import_module("wavestream.trainers.demo").demo
    parser.add_function_arguments(demo, skip={"progress"})
    _quiet(parser)


def _run_demo(arguments: Namespace) -> int:
    from wavestream.trainers.demo import demo

    values = {key: value for key, value in vars(arguments).items() if key not in {"quiet", "config"}}
    demo(**values, progress=not arguments.quiet)
    return 0


COMMANDS = {
    "ingest": Command("read DICOM, PNG, JPEG or NPY files and labels into a Zarr store", _declare_ingest, _run_ingest),
    "info": Command("say what a store holds", _declare_info, _run_info),
    "verify": Command("check every byte of a store against its checksums", _declare_verify, _run_verify),
    "export": Command(
        "write a store's images in a standard format: Zarr, PNG, NPY, DICOM", _declare_export, _run_export
    ),
    "train": Command("train a classifier on a store and test it on the held-out split", _declare_train, _run_train),
    "study": Command("AUC against compression, with and without artifact injection", _declare_study, _run_study),
    "demo": Command("the whole way in five minutes, on phantoms or on your data", _declare_demo, _run_demo),
}


def _parser(name: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser

    return ArgumentParser(prog=f"wavestream {name}", description=COMMANDS[name].summary)


def _configured_run(arguments: Namespace, module: str, name: str, command: str) -> Any:
    """The configuration of a run, its folder named after the store where the user named none."""
    out = arguments.out or f"{Path(arguments.store).resolve().stem}-{command}"
    return _configured(arguments, module, name, out=out)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        ["usage: wavestream COMMAND ...", "", (wavestream.__doc__ or "").split("\n")[0], "", "commands:", *lines, "",
         "wavestream COMMAND --help says more; wavestream --version prints the version. Not for clinical use."]
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    # Before torch is imported: its OpenMP threads would spin at every barrier, and starve the loader's and each other
    # where anything else runs. On two busy cores a training step took two to ten times as long (docs/design/0006).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else EXIT_USAGE
    if words[0] == "--version":
        print(f"wavestream {wavestream.__version__}")
        return 0
    command = COMMANDS.get(words[0])
    if command is None:
        print(f"wavestream: expected a command of {', '.join(COMMANDS)}; got {words[0]!r}", file=sys.stderr)
        return EXIT_USAGE
    try:
        parser = _parser(words[0])
        command.declare(parser)
        return command.run(parser.instantiate(parser.parse_args(words[1:])))
    except InputError as error:
        print(f"wavestream {words[0]}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except WavestreamError as error:
        print(f"wavestream {words[0]}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(f"\nwavestream {words[0]}: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
