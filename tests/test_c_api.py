"""The public C interface, called as an extension module would: the capsule and the structs of fastconv.h."""

from __future__ import annotations

import ctypes
import os
import re

import numpy as np
import pytest

import fastconv
from fastconv import _core, reference

INT64_3 = ctypes.c_int64 * 3


class Problem(ctypes.Structure):
    """fastconv_problem."""

    _fields_ = (
        [(name, ctypes.c_int) for name in ("dtype", "spatial", "channels_last", "activation")]
        + [("alpha", ctypes.c_double)]
        + [(name, ctypes.c_int64) for name in ("batch", "in_channels", "out_channels", "groups")]
        + [(name, INT64_3) for name in ("size", "kernel", "stride", "dilation", "pad_before", "pad_after")]
        + [("algorithm", ctypes.c_char_p)]
    )


OUTPUT_SIZE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(Problem), INT64_3, ctypes.c_char_p, ctypes.c_size_t
)
FORWARD = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(Problem), *[ctypes.c_void_p] * 4, ctypes.c_char_p, ctypes.c_size_t
)


class Api(ctypes.Structure):
    """fastconv_api."""

    _fields_ = (("version", ctypes.c_int), ("output_size", OUTPUT_SIZE), ("forward", FORWARD))


@pytest.fixture(scope="module")
def api() -> Api:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return Api.from_address(pointer(_core._C_API, b"fastconv._core._C_API"))


def problem(**changes: object) -> Problem:
    values = {
        "dtype": 0, "spatial": 2, "channels_last": 0, "activation": 1, "alpha": 0.0,
        "batch": 2, "in_channels": 6, "out_channels": 4, "groups": 2,
        "size": INT64_3(9, 11), "kernel": INT64_3(3, 2), "stride": INT64_3(1, 2), "dilation": INT64_3(1, 1),
        "pad_before": INT64_3(1, 0), "pad_after": INT64_3(0, 1), "algorithm": None,
    }  # fmt: skip
    return Problem(**(values | changes))


def test_header_is_where_get_include_says() -> None:
    with open(os.path.join(fastconv.get_include(), "fastconv.h")) as file:
        header = file.read()
    members = re.search(r"typedef struct fastconv_problem \{(.*?)\}", header, re.S)
    assert members is not None
    positions = [members[1].index(name) for name, _ in Problem._fields_ if name != "size"]
    assert positions == sorted(positions)


@pytest.mark.parametrize("algorithm", [None, b"direct", b"im2col", b"grouped"])
@pytest.mark.parametrize("channels_last", [0, 1])
def test_forward(api: Api, channels_last: int, algorithm: bytes | None) -> None:
    assert api.version == 1
    rng = np.random.default_rng(0)
    layout = "NHWC" if channels_last else "NCHW"
    x = rng.integers(-4, 5, (2, 9, 11, 6) if channels_last else (2, 6, 9, 11)).astype(np.float32)
    weight = rng.integers(-4, 5, (4, 3, 3, 2)).astype(np.float32)
    bias = rng.integers(-4, 5, 4).astype(np.float32)
    p = problem(channels_last=channels_last, algorithm=algorithm)
    size, error = INT64_3(), ctypes.create_string_buffer(200)
    assert api.output_size(p, size, error, 200) == 0
    shape = (2, size[0], size[1], 4) if channels_last else (2, 4, size[0], size[1])
    y = np.full(shape, np.nan, np.float32)
    assert api.forward(p, x.ctypes.data, weight.ctypes.data, bias.ctypes.data, y.ctypes.data, error, 200) == 0
    wanted = reference.conv2d(
        x, weight, bias, stride=(1, 2), padding=((1, 0), (0, 1)), groups=2, layout=layout, activation="relu"
    )
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"dtype": 7}, 2, "dtype"),
        ({"spatial": 4}, 1, "spatial"),
        ({"activation": 9}, 1, "activation"),
        ({"groups": 4}, 1, "groups=4"),
        ({"groups": 0}, 1, "groups must be at least 1"),
        ({"algorithm": b"depthwise"}, 1, "depthwise needs"),
        ({"size": INT64_3(1 << 62, 11)}, 1, "64"),
    ],
)
def test_errors_write_nothing(api: Api, changes: dict[str, object], status: int, words: str) -> None:
    y = np.full((2, 4, 8, 6), 7, np.float32)
    x = np.zeros((2, 6, 9, 11), np.float32)
    weight = np.zeros((4, 3, 3, 2), np.float32)
    error = ctypes.create_string_buffer(400)
    assert (
        api.forward(problem(**changes), x.ctypes.data, weight.ctypes.data, None, y.ctypes.data, error, 400)
        == status
    )
    assert words in error.value.decode()
    assert (y == 7).all()
