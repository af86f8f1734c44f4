"""In which order a loader visits its samples: our own shuffle, and what it takes to repeat anyone's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch.utils.data import RandomSampler

from wavestream.engine.randomness import permutation


class EpochSampler(RandomSampler):
    """Shuffles by a permutation derived from (seed, epoch); touches no random number generator.

    A subclass of torch's RandomSampler, because frameworks ask ``isinstance`` whether a loader shuffles.

    Args:
        dataset: anything with a length.
        seed: of the run.

    Attributes:
        epoch: which permutation comes next; a loader counts it on.
    """

    def __init__(self, dataset: Sized, seed: int) -> None:
        super().__init__(dataset)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation, as in ``torch.utils.data.DistributedSampler``."""
        self.epoch = epoch

    def order(self, epoch: int) -> list[int]:
        """The positions in the order of an epoch."""
        return permutation(self.seed, epoch, len(self)).tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(self.epoch))


class SamplerState:
    """Everything that decides which batches a loader's samplers will draw, taken at the start of an iteration.

    The samplers' generators, epochs and ``state_dict``, and torch's global generator for samplers that draw from it.
    Only a sampler that keeps a state of its own and offers none of these cannot be repeated.

    Attributes:
        values: the state, of types that ``torch.save`` takes.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    @classmethod
    def capture(cls, sources: dict[str, Any], shared: bool) -> SamplerState:
        """Read the state of some samplers and generators.

        Args:
            sources: by role; None where a role is not filled.
            shared: whether one of them may draw from torch's global generator.
        """
        generators = {role: one.get_state() for role, one in _generators(sources).items()}
        epochs = {role: one.epoch for role, one in sources.items() if hasattr(one, "set_epoch")}
        states = {role: one.state_dict() for role, one in sources.items() if hasattr(one, "state_dict")}
        return cls(
            {
                "generators": generators,
                "epochs": epochs,
                "states": states,
                "global_generator": torch.get_rng_state() if shared else None,
            }
        )

    @contextlib.contextmanager
    def restored(self, sources: dict[str, Any]) -> Iterator[None]:
        """Put the state back; torch's global generator only within the context."""
        for role, generator in _generators(sources).items():
            generator.set_state(self.values["generators"][role])
        for role, epoch in self.values["epochs"].items():
            sources[role].set_epoch(epoch)
        for role, state in self.values["states"].items():
            sources[role].load_state_dict(state)
        if self.values["global_generator"] is None:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.values["global_generator"])
            yield


def _generators(sources: dict[str, Any]) -> dict[str, torch.Generator]:
    """The generators among the sources, and those that samplers hold."""
    held = {
        role: one if isinstance(one, torch.Generator) else getattr(one, "generator", None)
        for role, one in sources.items()
    }
    return {role: one for role, one in held.items() if isinstance(one, torch.Generator)}
