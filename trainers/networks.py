"""Torchvision's classifiers by name, with weights from torchvision or from a file."""

from __future__ import annotations

import copy
import difflib
import pickle
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from wavestream.engine.errors import InputError

# The auxiliary classifiers of these two change what forward returns while training; nothing here uses them.
WITH_AUXILIARY_CLASSIFIERS = ("googlenet", "inception_v3")


def check_name(name: str) -> None:
    """Refuse a name that is not a torchvision classifier, with the closest names that are.

    Raises:
        InputError: no such classifier.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        raise InputError(f"model: expected the name of a torchvision classifier, got {name!r}; {hint}")


def build_network(name: str, classes: int, weights: str | None = None) -> nn.Module:
    """A torchvision classifier with ``classes`` outputs, randomly initialised from torch's generator or from weights.

    Args:
        name: as ``torchvision.models.list_models`` gives it. GoogLeNet and Inception v3 come without their auxiliary
            classifiers.
        classes: number of outputs.
        weights: None, a name of torchvision's weights for this network (``DEFAULT``, ``IMAGENET1K_V1``; downloaded
            once), or a file with its state dict. The last layer is left random where its shape differs.

    Raises:
        InputError: unknown name; weights that cannot be read or do not fit.
    """
    check_name(name)
    options: dict[str, Any] = {"num_classes": classes}
    if name in WITH_AUXILIARY_CLASSIFIERS:
        options |= {"aux_logits": False, "init_weights": True}
    network = torchvision.models.get_model(name, weights=None, **options)
    if weights is not None:
        _load_weights(network, name, weights)
    return network


def check_image_size(network: nn.Module, name: str, image_size: tuple[int, int], batch_size: int) -> None:
    """Refuse an image size the network cannot be trained at, without computing anything.

    Args:
        network: takes (batch, 3, rows, cols).
        name: of the network, for the message.
        image_size: rows, cols.
        batch_size: images per step; batch norm over a single 1 x 1 map is among what is found out.

    Raises:
        InputError: the network's own words about what does not fit.
    """
    shadow = copy.deepcopy(network).to("meta").train()
    try:
        shadow(torch.zeros(min(batch_size, 2), 3, *image_size, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"model {name} cannot be trained on images of {image_size[0]}x{image_size[1]} in batches of {batch_size}: "
            f"{error}; choose another transform.image_size, batch size or model"
        ) from error


def _load_weights(network: nn.Module, name: str, weights: str) -> None:
    """Copy weights into the network; everything but its last layer must be there and fit."""
    given = _read_state(name, weights)
    own = network.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    last = [key for key, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    wrong = [key for key in own if key not in fitting and key.rpartition(".")[0] != last]
    if wrong:
        found = [f"{key} ({'missing' if key not in given else 'another shape'})" for key in wrong[:3]]
        raise InputError(
            f"weights: {weights} does not fit {name}: {len(wrong)} of {len(own)} tensors differ, such as "
            f"{', '.join(found)}; give a state dict of torchvision's {name}"
        )
    network.load_state_dict(fitting, strict=False)


def _read_state(name: str, weights: str) -> dict[str, torch.Tensor]:
    """The state dict behind ``weights``: of a file, or of torchvision's weights of that name."""
    if Path(weights).is_file():
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise InputError(
                f"weights: {weights} is not a file of tensors that torch.load reads with weights_only=True: {error}"
            ) from error
        state = state.get("state_dict", state) if isinstance(state, dict) else {}
        return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    members = torchvision.models.get_model_weights(name).__members__
    if weights not in members:
        raise InputError(
            f"weights: expected a file, or one of {', '.join(members) or 'no names'} for {name}; got {weights!r}"
        )
    try:
        return dict(members[weights].get_state_dict(progress=False, check_hash=True))
    except OSError as error:
        raise InputError(
            f"weights: {weights} of {name} could not be downloaded ({error}); "
            "download it elsewhere and give the file's path"
        ) from error
