"""Errors a user can act on. Each says what was expected, what was found, where, and what to do."""


class WavestreamError(Exception):
    """Base of every error that wavestream raises about the user's data or configuration."""


class InputError(WavestreamError, ValueError):
    """Input files, labels or arguments that cannot be used as given."""


class StoreError(WavestreamError):
    """A store that is missing, incomplete, damaged, or written by a newer version."""


class CodecError(WavestreamError):
    """A stream of the ``wavestream.layers`` codec that is damaged, cut short, or of an unknown version."""


class MissingExtraError(WavestreamError, ImportError):
    """An optional dependency is not installed.

    Args:
        module: name of the module that could not be imported, e.g. ``"cupy"``.
        extra: the wavestream extra that installs it, e.g. ``"gpu"``.
        needed_for: what was asked for, completing the sentence "... needs <module>".
    """

    def __init__(self, module: str, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs {module}, which is not installed: pip install 'wavestream[{extra}]'")
        self.module = module
        self.extra = extra
