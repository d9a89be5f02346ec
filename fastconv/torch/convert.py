"""`convert` and `revert`: let fastconv compute the layers of a model that it has, in place."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from fastconv.torch.fusion import attach, detach
from fastconv.torch.modules import OURS

__all__ = ["convert", "revert"]

Model = TypeVar("Model", bound=nn.Module)
THEIRS = {ours: theirs for theirs, ours in OURS.items()}


def convert(model: Model, *, fuse: bool = True) -> Model:
    """Let fastconv compute every layer of a model that it has, in place.

    Convolutions and poolings change their class to the subclass of the same name in `fastconv.torch`;
    parameters, buffers, hooks and the names of the state stay what they are.  Subclasses of torch's layers
    are left alone: they may compute something else.

    In evaluation mode and without gradients (`torch.no_grad`, `torch.inference_mode`) weights are prepared
    once for each input shape, and made anew when a parameter is written to or replaced.  With `fuse`, batch
    normalisation, ReLU and ReLU6 that follow a convolution are computed with it, where a symbolic trace
    proves that nobody else reads what is between them.

    Parameters
    ----------
    model : torch.nn.Module
        A model, or a layer.
    fuse : bool
        Whether to fuse in evaluation mode.

    Returns
    -------
    torch.nn.Module
        The model itself.

    See Also
    --------
    revert : the way back.

    Notes
    -----
    Writing to ``parameter.data`` is not seen by the version counter that torch keeps; a forward pass in
    training mode, or with gradients enabled, makes what was prepared anew, as does converting again.

    Examples
    --------
    >>> import torch
    >>> import fastconv.torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU()).eval()
    >>> x = torch.ones(1, 1, 5, 5)
    >>> before = model(x)
    >>> with torch.no_grad():
    ...     after = fastconv.torch.convert(model)(x)
    >>> torch.allclose(before, after, atol=1e-5)
    True
    """
    revert(model)
    for module in list(model.modules()):
        ours = OURS.get(type(module))
        if ours is not None:
            module.__class__ = ours
    if fuse:
        attach(model)
    return model


def revert(model: Model) -> Model:
    """Undo `convert`, in place: every layer is torch's again.

    Parameters
    ----------
    model : torch.nn.Module
        A model, converted or not.

    Returns
    -------
    torch.nn.Module
        The model itself.

    Examples
    --------
    >>> import torch
    >>> import fastconv.torch
    >>> layer = fastconv.torch.convert(torch.nn.MaxPool2d(2))
    >>> type(layer) is fastconv.torch.MaxPool2d, type(fastconv.torch.revert(layer)) is torch.nn.MaxPool2d
    (True, True)
    """
    for module in list(model.modules()):
        detach(module)
        theirs = THEIRS.get(type(module))
        if theirs is not None:
            module.__dict__.pop("_prepared", None)
            module.__class__ = theirs
    return model
