"""Bad input: the type of the exception, the argument's name and both values in it, and an untouched out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from support import normal

import fastconv

SHAPES = {"x": (2, 4, 6, 5), "weight": (8, 4, 3, 3), "bias": (8,), "out": (2, 8, 4, 3)}


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def zero_strides(*shape: int) -> np.ndarray:
    """A huge array that lies in four bytes."""
    return as_strided(np.zeros(1, np.float32), shape, (0,) * len(shape), writeable=False)


def assert_says(words: tuple[str, ...], message: str) -> None:
    for word in words:
        found = re.search(rf"(?<![\w.]){re.escape(word)}(?!\w)", message)
        assert found, f"{word!r} is not in {message!r}"


def check(kind: type[Exception], words: tuple[str, ...], arguments: dict[str, Any]) -> None:
    """Assert that the call raises exactly this and says all words, and that no array has changed."""
    given = {name: normal(shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())} | arguments
    given["out"][...] = np.nan if given["out"].flags.writeable else 0
    before = {name: a.copy() for name, a in given.items() if isinstance(a, np.ndarray) and a.nbytes < 2**20}
    with pytest.raises(kind) as raised:
        fastconv.conv2d(**given)
    assert type(raised.value) is kind
    assert_says(words, str(raised.value))
    for name, array in before.items():
        np.testing.assert_array_equal(given[name], array, err_msg=f"{name} was changed")


def bad(kind: type[Exception], *words: str, **arguments: Any) -> Any:
    """A case: what is raised, the words of its message, and the arguments that are not as they should be."""
    wrong = ", ".join(f"{k}={getattr(v, 'shape', v)!r}"[:40] for k, v in arguments.items())
    return pytest.param(kind, words, arguments, id=f"{wrong} {words[0]}")


RANKS_AND_CHANNELS = [
    bad(ValueError, "x", "(6, 5)", "4", "3", x=ones(6, 5)),
    bad(ValueError, "x", "(1, 2, 4, 6, 5)", "4", x=ones(1, 2, 4, 6, 5)),
    bad(ValueError, "x", "()", "4", x=ones()),
    bad(ValueError, "x", "8", "4", x=ones(1, 1, 1, 1, 2, 4, 6, 5)),
    bad(ValueError, "weight", "(8, 3, 3)", "4", weight=ones(8, 3, 3)),
    bad(ValueError, "weight", "(8, 4, 3, 3, 1)", "4", weight=ones(8, 4, 3, 3, 1)),
    bad(ValueError, "bias", "()", "(8,)", bias=ones()),
    bad(ValueError, "bias", "(8, 1)", "(8,)", bias=ones(8, 1)),
    bad(ValueError, "bias", "(7,)", "(8,)", bias=ones(7)),
    bad(ValueError, "bias", "(1,)", "(8,)", bias=ones(1)),
    bad(ValueError, "weight", "3", "4", weight=ones(8, 3, 3, 3)),
    bad(ValueError, "weight", "4", "2", groups=2),
    bad(ValueError, "weight", "4", "6", layout="NHWC", x=ones(2, 4, 5, 6)),
    bad(ValueError, "groups", "3", "4", groups=3),
    bad(ValueError, "groups", "4", "6", groups=4, weight=ones(6, 1, 3, 3), bias=ones(6)),
    bad(ValueError, "groups", "0", groups=0),
    bad(ValueError, "groups", "-1", groups=-1),
    bad(ValueError, "groups", str(2**62), "4", groups=2**62),
    bad(ValueError, "groups", "64", groups=2**64),
    bad(TypeError, "groups", "2.0", groups=2.0),
    bad(TypeError, "groups", "None", groups=None),
    bad(TypeError, "groups", "tuple", groups=(1,)),
]

EMPTY = [
    bad(ValueError, "x", "height", "0", x=ones(2, 4, 0, 5), padding=3),
    bad(ValueError, "x", "width", "0", x=ones(2, 4, 6, 0), padding=3),
    bad(ValueError, "x", "0", "channels", x=ones(2, 0, 6, 5), weight=ones(8, 0, 3, 3)),
    bad(ValueError, "weight", "0", "output", weight=ones(0, 4, 3, 3), bias=ones(0)),
    bad(ValueError, "weight", "kernel", "0", weight=ones(8, 4, 0, 3)),
    bad(ValueError, "weight", "kernel", "0", weight=ones(8, 4, 3, 0)),
]

DTYPES = [
    bad(TypeError, "x", "float16", "x.astype(np.float32)", x=ones(2, 4, 6, 5, dtype=np.float16)),
    bad(TypeError, "x", "int64", x=ones(2, 4, 6, 5, dtype=np.int64)),
    bad(TypeError, "weight", "bool", weight=ones(8, 4, 3, 3, dtype=bool)),
    bad(TypeError, "bias", "object", bias=ones(8, dtype=object)),
    bad(TypeError, "weight", "float64", "x", "float32", weight=ones(8, 4, 3, 3, dtype=float)),
    bad(TypeError, "bias", "float64", "float32", bias=ones(8, dtype=float)),
    bad(TypeError, "weight", "float32", "float64", x=ones(2, 4, 6, 5, dtype=float)),
    bad(TypeError, "x", "NoneType", x=None),
    bad(TypeError, "x", "list", x=[[1.0]]),
    bad(TypeError, "x", "float", x=1.0),
    bad(TypeError, "weight", "str", weight="sobel"),
    bad(TypeError, "weight", "NoneType", weight=None),
    bad(TypeError, "bias", "float", bias=0.0),
]

STEPS = [
    case
    for name in ("stride", "dilation")
    for case in (
        bad(ValueError, name, "0", **{name: 0}),
        bad(ValueError, name, "-2", **{name: (1, -2)}),
        bad(ValueError, name, "(1,)", "2", **{name: (1,)}),
        bad(ValueError, name, "(1, 1, 1)", "2", **{name: (1, 1, 1)}),
        bad(ValueError, name, "()", "2", **{name: ()}),
        bad(TypeError, name, "1.5", **{name: 1.5}),
        bad(TypeError, name, "float", **{name: (1, 1.0)}),
        bad(TypeError, name, "str", **{name: "2"}),
        bad(TypeError, name, "bool", **{name: True}),
        bad(TypeError, name, "NoneType", **{name: None}),
        bad(ValueError, name, "65", **{name: 2**64}),
    )
]

PADDING = [
    bad(ValueError, "padding", "-1", padding=-1),
    bad(ValueError, "padding", "-1", padding=(1, -1)),
    bad(ValueError, "padding", "-3", padding=((0, 0), (0, -3))),
    bad(ValueError, "padding", "(1, 2, 3)", "2", padding=(1, 2, 3)),
    bad(ValueError, "padding", "((1, 2),)", "2", padding=((1, 2),)),
    bad(ValueError, "padding", "(1, 2, 3)", padding=((1, 2, 3), (1, 1))),
    bad(TypeError, "padding", "1.5", padding=1.5),
    bad(TypeError, "padding", "0.5", padding=((0, 0.5), 1)),
    bad(TypeError, "padding", "NoneType", padding=None),
    bad(ValueError, "padding", "full", "same", "valid", padding="full"),
    bad(ValueError, "padding", "causal", padding="causal"),
    bad(TypeError, "padding_mode", "NoneType", padding_mode=None),
    bad(ValueError, "padding_mode", "mirror", "reflect", padding_mode="mirror"),
    bad(ValueError, "padding_value", "1.0", "zeros", padding_value=1.0),
    bad(ValueError, "padding_value", "1.0", "reflect", padding_value=1.0, padding_mode="reflect", padding=1),
    bad(TypeError, "padding_value", "str", padding_value="1", padding_mode="constant", padding=1),
    bad(ValueError, "padding", "reflect", "6", padding=(6, 0), padding_mode="reflect"),
    bad(ValueError, "padding", "circular", "6", "5", padding=(0, 6), padding_mode="circular"),
    bad(ValueError, "padding", "-1", padding=-1, padding_mode="replicate"),
]

WORDS = [
    bad(ValueError, "layout", "NCL", "NCHW", "NHWC", layout="NCL"),
    bad(ValueError, "layout", "nchw", layout="nchw"),
    bad(TypeError, "layout", "None", layout=None),
    bad(ValueError, "activation", "elu", "relu6", activation="elu"),
    bad(ValueError, "activation", "leaky_relu", activation="leaky_relu"),
    bad(ValueError, "activation", "leaky_relu", activation=("leaky_relu",)),
    bad(TypeError, "activation", "0.1", "number", activation=("leaky_relu", "0.1")),
    bad(ValueError, "activation", "inf", activation=("leaky_relu", float("inf"))),
    bad(ValueError, "activation", "nan", activation=("leaky_relu", float("nan"))),
    bad(TypeError, "activation", activation=np.tanh),
    bad(ValueError, "algorithm", "fastest", "direct", "auto", algorithm="fastest"),
    bad(TypeError, "algorithm", "None", algorithm=None),
    bad(ValueError, "algorithm", "", algorithm=""),
    bad(ValueError, "depthwise", "groups", algorithm="depthwise"),
    bad(ValueError, "depthwise", "groups", algorithm="depthwise", groups=2, weight=ones(8, 2, 3, 3)),
    bad(
        ValueError,
        "grouped",
        "groups",
        algorithm="grouped",
        x=normal((2, 17, 6, 5)),
        weight=ones(25, 17, 3, 3),
        bias=ones(25),
        out=ones(2, 25, 4, 3),
    ),
]

TOO_LARGE = [
    bad(ValueError, "weight", "7", "6", weight=ones(8, 4, 7, 3)),
    bad(ValueError, "weight", "6", "5", weight=ones(8, 4, 3, 6)),
    bad(ValueError, "weight", "dilation", "9", "6", dilation=4),
    bad(ValueError, "weight", "11", "8", weight=ones(8, 4, 11, 3), padding=1),
    bad(ValueError, "weight", "dilation", str(2**51), "6", dilation=2**51),
    bad(ValueError, "dilation", str(2**59), "3", dilation=2**59),
    bad(ValueError, "padding", str(2**62), padding=2**62),
    bad(ValueError, "padding", str(2**62), padding=((0, 2**62), 0)),
    bad(ValueError, "padding", "64", padding=2**63),
    bad(ValueError, "padding", "71", padding=2**70),
    bad(ValueError, "padding", str(2**62), padding=2**62, padding_mode="replicate"),
    bad(ValueError, "padding", str(2**62), padding=2**62, padding_mode="constant", padding_value=1),
    bad(ValueError, "dilation", str(2**62), dilation=2**62),
    bad(ValueError, "padding", "elements", padding=2**31),
    bad(ValueError, "x", "elements", x=zero_strides(2**53, 4, 6, 5)),
    bad(ValueError, "out", x=zero_strides(2**40, 4, 6, 5)),
]

cases = pytest.mark.parametrize(
    ("kind", "words", "arguments"),
    [*RANKS_AND_CHANNELS, *EMPTY, *DTYPES, *STEPS, *PADDING, *WORDS, *TOO_LARGE],
)


@cases
def test_bad_argument(kind: type[Exception], words: tuple[str, ...], arguments: dict[str, Any]) -> None:
    check(kind, words, arguments)


@pytest.mark.parametrize(
    ("kind", "words", "arguments"), [*RANKS_AND_CHANNELS, *EMPTY, *STEPS, *PADDING, *WORDS, *TOO_LARGE[:-1]]
)
def test_plans_refuse_the_same(
    kind: type[Exception], words: tuple[str, ...], arguments: dict[str, Any]
) -> None:
    """What is wrong whatever x holds is wrong with a plan already, and in the same words."""
    given = {name: normal(shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())} | arguments
    given.pop("out")
    with pytest.raises(kind) as raised:
        fastconv.plan_conv2d(given.pop("x").shape, **given)
    assert type(raised.value) is kind
    assert_says(words, str(raised.value))


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (("output",), {"padding": ((2**40, 0), 0)}),
        (("output",), {"x": zero_strides(2**45, 4, 6, 5)}),
        (("weight",), {"weight": zero_strides(2**50, 4, 3, 3), "bias": None}),
    ],
    ids=["output by padding", "output by batch", "weights"],
)
def test_more_than_there_is_memory(words: tuple[str, ...], arguments: dict[str, Any]) -> None:
    """Hundreds of terabytes: refused at once, not by the machine running out of it."""
    given = {name: normal(shape) for name, shape in SHAPES.items() if name != "out"} | arguments
    with pytest.raises(MemoryError) as raised:
        fastconv.conv2d(**given)
    for word in words:
        assert word in str(raised.value)


# --- out ----------------------------------------------------------------------------------------------


def read_only(*shape: int) -> np.ndarray:
    a = np.zeros(shape, np.float32)
    a.flags.writeable = False
    return a


def misaligned_out() -> np.ndarray:
    raw = np.zeros(4 * 192 + 1, np.uint8)
    return raw[1:].view(np.float32).reshape(SHAPES["out"])


@pytest.mark.parametrize(
    ("kind", "words", "make"),
    [
        (ValueError, ("out", "(2, 8, 4, 4)", "(2, 8, 4, 3)"), lambda: ones(2, 8, 4, 4)),
        (ValueError, ("out", "(8, 4, 3)", "(2, 8, 4, 3)"), lambda: ones(8, 4, 3)),
        (ValueError, ("out", "(2, 4, 3, 8)", "(2, 8, 4, 3)"), lambda: ones(2, 4, 3, 8)),
        (ValueError, ("out", "(192,)", "(2, 8, 4, 3)"), lambda: ones(192)),
        (ValueError, ("out", "()", "(2, 8, 4, 3)"), lambda: ones()),
        (ValueError, ("out", "(1, 2, 8, 4, 3, 1)"), lambda: ones(1, 2, 8, 4, 3, 1)),
        (TypeError, ("out", "float64", "float32"), lambda: ones(2, 8, 4, 3, dtype=np.float64)),
        (TypeError, ("out", "int32", "float32"), lambda: ones(2, 8, 4, 3, dtype=np.int32)),
        (TypeError, ("out", "float32"), lambda: ones(2, 8, 4, 3, dtype=np.dtype("f4").newbyteorder("S"))),
        (ValueError, ("out", "read-only"), lambda: read_only(2, 8, 4, 3)),
        (ValueError, ("out", "aligned"), misaligned_out),
        (ValueError, ("out", "address"), lambda: as_strided(ones(8, 4, 3), SHAPES["out"], (0, 48, 12, 4))),
        (ValueError, ("out", "address"), lambda: as_strided(ones(500), SHAPES["out"], (96, 12, 12, 4))),
    ],
)
def test_out_that_cannot_be_used(kind: type[Exception], words: tuple[str, ...], make: Any) -> None:
    check_out(kind, words, make())


def check_out(kind: type[Exception], words: tuple[str, ...], out: np.ndarray, **arguments: Any) -> None:
    given = {name: normal(shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items()) if name != "out"}
    before = out.copy()
    with pytest.raises(kind) as raised:
        fastconv.conv2d(**given | arguments, out=out)
    assert type(raised.value) is kind
    for word in words:
        assert word in str(raised.value)
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize(
    "out", [[[0.0]], "out", 0, bytearray(768), np.float32(1)], ids=lambda out: type(out).__name__
)
def test_out_that_is_no_array(out: Any) -> None:
    with pytest.raises(TypeError, match=rf"out.*{type(out).__name__}"):
        fastconv.conv2d(ones(2, 4, 6, 5), ones(8, 4, 3, 3), out=out)


@pytest.mark.parametrize("argument", ["x", "weight", "bias"])
@pytest.mark.parametrize("where", ["all", "first", "last"])
def test_out_that_overlaps_an_input(where: str, argument: str) -> None:
    """From as much as can be to a single element, the input's first or its last."""
    size = int(np.prod(SHAPES[argument]))
    memory = normal((2 * size + 192,), seed=9)
    out = memory[size : size + 192].reshape(SHAPES["out"])
    start = {"all": size, "first": size + 191, "last": 1}[where]
    given = memory[start : start + size].reshape(SHAPES[argument])
    assert np.shares_memory(out, given)
    check_out(ValueError, ("out", argument), out, **{argument: given})


def test_out_that_overlaps_an_input_that_is_copied_to_be_read() -> None:
    """Filters with gaps and a misaligned image are read as copies; what the caller gave must not change."""
    memory = np.zeros(2048, np.float32)
    x, weight = normal((1, 16, 4, 4)), normal((16, 16, 1, 1))
    gaps = memory[:512:2].reshape(weight.shape)
    gaps[...] = weight
    odd = np.ndarray(x.shape, np.float32, memory.data, 4 * 512 + 2)
    odd[...] = x
    for arguments, name, first in (((x, gaps), "weight", 100), ((odd, weight), "x", 600)):
        out = memory[first : first + 256].reshape(1, 16, 4, 4)
        before = memory.copy()
        with pytest.raises(ValueError, match=f"out shares memory with {name}"):
            fastconv.conv2d(*arguments, out=out)
        with pytest.raises(ValueError, match="out shares memory"):
            fastconv.conv2d_input_grad(*arguments, input_shape=x.shape, out=out)
        np.testing.assert_array_equal(memory, before)


def test_out_that_overlaps_x_element_by_element() -> None:
    """In place, though shapes allow it: a 1x1 convolution reads what it has written."""
    x, weight = normal((2, 4, 6, 5)), normal((4, 4, 1, 1))
    before = x.copy()
    for out in (x, x[::-1], x[:, :, ::-1, ::-1]):
        with pytest.raises(ValueError, match=r"out.*x"):
            fastconv.conv2d(x, weight, out=out)
    np.testing.assert_array_equal(x, before)


def test_unknown_and_missing_arguments() -> None:
    x, weight = ones(1, 1, 3, 3), ones(1, 1, 3, 3)
    with pytest.raises(TypeError, match="strides"):
        fastconv.conv2d(x, weight, strides=2)
    with pytest.raises(TypeError, match="weight"):
        fastconv.conv2d(x)
    with pytest.raises(TypeError, match="positional"):
        fastconv.conv2d(x, weight, None, 1, 0, 1, 1, "zeros")


class Hostile:
    """Says it has an array, and raises."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        raise RuntimeError("no array today")


class HostileNumber:
    def __index__(self) -> int:
        raise ZeroDivisionError("no number today")


def test_objects_that_raise() -> None:
    """An exception of the caller's own code comes through or is wrapped: it is not lost, nothing crashes."""
    x, weight = ones(1, 1, 3, 3), ones(1, 1, 3, 3)
    with pytest.raises((TypeError, RuntimeError)):
        fastconv.conv2d(Hostile(), weight)
    with pytest.raises(ZeroDivisionError, match="no number today"):
        fastconv.conv2d(x, weight, stride=HostileNumber())
    np.testing.assert_array_equal(fastconv.conv2d(x, weight), 9)
