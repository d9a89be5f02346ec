"""conv2d as a caller sees it: options, dtypes, layouts, and everything that may be given as an array."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from support import (
    DTYPES,
    ISAS,
    LAYOUTS,
    Poisoned,
    amid_nan,
    assert_conv2d,
    assert_within,
    integers,
    isa,
    normal,
    same_bits,
    seed_cases,
    threads,
    to_layout,
)

import fastconv
from fastconv import reference

both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)


# --- What is computed ---------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("case", seed_cases("conv2d"), ids=lambda case: case["name"])
def test_worked_examples(case: dict[str, Any], dtype: Any) -> None:
    """The examples of lecture notes, without a batch, with one, and channels last: exact."""
    x, weight = np.array(case["x"], dtype), np.array(case["weight"], dtype)[np.newaxis, np.newaxis]
    how = {"stride": case["stride"], "padding": case["padding"]}
    assert case["atol"] == 0
    images = ((x[np.newaxis], "NCHW"), (x[np.newaxis, np.newaxis], "NCHW"), (x[..., np.newaxis], "NHWC"))
    for image, layout in images:
        y = fastconv.conv2d(image, weight, layout=layout, **how)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.squeeze(), np.squeeze(case["expected"]))


def test_output_size_of_the_worked_example() -> None:
    (case,) = seed_cases("output_size")
    width, height = case["kernel_size"]
    weight = np.ones((1, 1, height, width), np.float32)
    for size, out_width, out_height in case["examples"]:
        x = np.ones((1, size, size), np.float32)
        y = fastconv.conv2d(x, weight, stride=case["stride"], padding=case["padding"])
        assert y.shape == (1, out_height, out_width)


@pytest.mark.parametrize("name", ["identity", "edge_cross", "edge_full", "sharpen", "sobel_horizontal"])
def test_named_kernels_on_a_ramp(name: str) -> None:
    """On a plane that rises by 3 a row and 5 a column each kernel gives what arithmetic says."""
    (kernels,) = seed_cases("kernels")
    rows, columns = np.mgrid[0:9, 0:12].astype(np.float32)
    plane = 3 * rows + 5 * columns + 2
    y = fastconv.conv2d(plane[np.newaxis], np.array([[kernels[name]]], np.float32))[0]
    inside = plane[1:-1, 1:-1]
    # Kernels that sum to one reproduce a plane, those that sum to zero and are symmetric remove it, and
    # Sobel's takes left from right: 4 rows' worth of a difference over two columns.
    expected = {"identity": inside, "sharpen": inside, "sobel_horizontal": np.full_like(inside, -4 * 2 * 5)}
    np.testing.assert_array_equal(y, expected.get(name, np.zeros_like(inside)))


OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "stride": {"stride": 2},
    "stride per axis": {"stride": (1, 3)},
    "padding": {"padding": 1},
    "padding per axis": {"padding": (2, 0)},
    "padding per side": {"padding": ((0, 1), (3, 2))},
    "padding mixed": {"padding": (1, (0, 2))},
    "padding valid": {"padding": "valid", "stride": 2},
    "padding same": {"padding": "same"},
    "padding same, stride 2": {"padding": "same", "stride": 2},
    "padding same, stride 3 and dilation": {"padding": "same", "stride": (3, 2), "dilation": (1, 2)},
    "padding same_lower": {"padding": "same_lower"},
    "padding same_lower, stride 2": {"padding": "same_lower", "stride": 2},
    "dilation": {"dilation": 2},
    "dilation per axis": {"dilation": (2, 3)},
    "lists": {"stride": [2, 1], "dilation": [1, 2], "padding": [[1, 2], [0, 3]]},
    "arrays": {"stride": np.array([2, 1]), "padding": np.array([1, 2]), "dilation": np.array([2, 3])},
    "NumPy integers": {"stride": np.uint8(2), "padding": np.int16(1), "groups": np.int32(2)},
    "groups": {"groups": 2, "padding": 1},
    "a group for every channel": {"groups": 4, "padding": 1},
    "relu": {"activation": "relu"},
    "relu6": {"activation": "relu6"},
    "leaky_relu": {"activation": ("leaky_relu", 0.1)},
    "leaky_relu, integer slope": {"activation": ("leaky_relu", 0)},
    "replicate": {"padding": ((2, 3), (9, 0)), "padding_mode": "replicate"},
    "edge": {"padding": 1, "padding_mode": "edge", "stride": 2},
    "reflect": {"padding": ((3, 1), (0, 5)), "padding_mode": "reflect"},
    "reflect, as far as it goes": {"padding": ((6, 0), (0, 8)), "padding_mode": "reflect"},
    "symmetric": {"padding": ((3, 1), (7, 9)), "padding_mode": "symmetric", "dilation": 2},
    "circular": {"padding": ((7, 1), (2, 9)), "padding_mode": "circular"},
    "wrap": {"padding": "same", "padding_mode": "wrap", "stride": 2},
    "constant": {"padding": ((1, 2), (3, 0)), "padding_mode": "constant", "padding_value": -1.75},
    "constant, not exact in binary": {"padding": 2, "padding_mode": "constant", "padding_value": 0.3},
    "constant, an integer": {"padding": 1, "padding_mode": "constant", "padding_value": 2},
    "constant zero": {"padding": 2, "padding_mode": "constant"},
    "a mode without padding": {"padding_mode": "reflect"},
    "everything": {
        "stride": (2, 1),
        "padding": ((1, 0), (2, 3)),
        "dilation": (1, 2),
        "groups": 2,
        "padding_mode": "symmetric",
        "activation": "relu",
    },
}


@both_layouts
@both_dtypes
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options(options: dict[str, Any], dtype: Any, layout: str) -> None:
    """Against the reference; with and without bias, batch and out."""
    x, weight = normal((2, 4, 7, 9), dtype, 1), normal((8, 4 // options.get("groups", 1), 3, 2), dtype, 2)
    bias = normal((8,), dtype, 3)
    batch = amid_nan(to_layout(x, layout))
    y = fastconv.conv2d(batch, weight, bias, layout=layout, **options)
    assert y.flags.c_contiguous
    assert_conv2d(y, batch, weight, bias, layout=layout, **options)
    image = amid_nan(to_layout(x[1], layout), "rows")
    poisoned = Poisoned(y.shape[1:], dtype)
    without = fastconv.conv2d(image, weight, None, layout=layout, out=poisoned.out, **options)
    assert without is poisoned.out
    poisoned.check()
    assert_conv2d(without, image, weight, layout=layout, **options)


def test_positional_arguments_are_torch_s() -> None:
    x, weight, bias = normal((2, 4, 9, 9)), normal((6, 2, 3, 3)), normal((6,))
    y = fastconv.conv2d(x, weight, bias, 2, 1, 2, 2)
    assert_conv2d(y, x, weight, bias, stride=2, padding=1, dilation=2, groups=2)
    names = list(inspect.signature(fastconv.conv2d).parameters.values())
    assert [p.name for p in names[:7]] == ["x", "weight", "bias", "stride", "padding", "dilation", "groups"]
    assert {p.name: p.default for p in names if p.kind is p.KEYWORD_ONLY} == {
        "padding_mode": "zeros",
        "padding_value": 0,
        "layout": "NCHW",
        "activation": None,
        "algorithm": "auto",
        "out": None,
    }


@both_dtypes
def test_a_1x1_kernel_is_a_matrix_product(dtype: Any) -> None:
    x, weight = integers((3, 20, 5, 7), dtype, 1), integers((9, 20, 1, 1), dtype, 2)
    expected = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], x)
    np.testing.assert_array_equal(fastconv.conv2d(x, weight), expected)


@both_layouts
def test_a_delta_gives_the_kernel_back(layout: str) -> None:
    """A pixel of one shows the kernel turned around, in every channel pair: nothing is flipped or swapped."""
    weight = integers((5, 3, 4, 3), np.float32, 1, most=9)
    for channel in range(3):
        x = np.zeros((3, 11, 9), np.float32)
        x[channel, 5, 4] = 1
        y = fastconv.conv2d(to_layout(x, layout), weight, layout=layout)
        y = np.moveaxis(y, -1, 0) if layout == "NHWC" else y
        np.testing.assert_array_equal(y[:, 2:6, 2:5], weight[:, channel, ::-1, ::-1])
        assert np.count_nonzero(y) == np.count_nonzero(weight[:, channel])


@both_layouts
@both_dtypes
def test_empty_batch(dtype: Any, layout: str) -> None:
    x = to_layout(np.empty((0, 4, 7, 9), dtype), layout)
    weight = normal((6, 4, 3, 3), dtype)
    expected = to_layout(np.empty((0, 6, 5, 7), dtype), layout)
    y = fastconv.conv2d(x, weight, normal((6,), dtype), layout=layout)
    assert y.shape == expected.shape
    assert y.dtype == dtype
    assert fastconv.conv2d(x, weight, layout=layout, out=expected) is expected
    for algorithm in ("direct", "im2col"):
        assert fastconv.conv2d(x, weight, layout=layout, algorithm=algorithm).shape == expected.shape
    circular = fastconv.conv2d(x, weight, layout=layout, padding=1, padding_mode="circular")
    assert circular.size == 0


@both_dtypes
def test_integers_are_exact_up_to_the_mantissa(dtype: Any) -> None:
    """Products of integers whose sum just fits the mantissa lose nothing."""
    limit = 2 ** np.finfo(dtype).nmant
    x, weight = np.ones((1, 8, 5, 5), dtype), np.zeros((2, 8, 3, 3), dtype)
    weight[0], weight[1, 0, 1, 1], weight[1, 3, 0, 2] = limit // 128, limit, limit - 1
    y = fastconv.conv2d(x, weight)
    assert (y[0, 0] == 72 * (limit // 128)).all()
    assert (y[0, 1] == 2 * limit - 1).all()


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("algorithm", ["im2col", "direct"])
@pytest.mark.parametrize(
    "shape",
    [(1, 3, 304, 304), (1, 3, 300, 306), (2, 3, 237, 241)],
    ids=["whole vectors", "half a vector more", "any"],
)
def test_results_larger_than_the_caches(name: str, algorithm: str, shape: tuple[int, ...]) -> None:
    """What is written past the caches is right at any address, and there when two threads return."""
    x, weight = normal(shape, np.float32, 1), normal((64, 3, 1, 1), np.float32, 2)
    nhwc = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    made = (shape[0], 64, *shape[2:])
    aside = np.empty(int(np.prod(made)) + 1, np.float32)[1:].reshape(made)
    with isa(name), threads(2):
        for out in (None, aside):
            assert_conv2d(fastconv.conv2d(x, weight, out=out, algorithm=algorithm), x, weight)
        y = fastconv.conv2d(nhwc, weight, layout="NHWC", algorithm=algorithm)
        assert_conv2d(y, nhwc, weight, layout="NHWC")


@pytest.mark.parametrize("name", ISAS)
def test_depthwise_results_larger_than_the_caches(name: str) -> None:
    """As above, of channels that are adjacent: 64 of them."""
    x, weight = normal((1, 300, 303, 64), np.float32, 1), normal((64, 1, 3, 3), np.float32, 2)
    aside = np.empty(x.size + 1, np.float32)[1:].reshape(x.shape)
    options: dict[str, Any] = {"layout": "NHWC", "padding": 1}
    with isa(name), threads(2):
        for out in (None, aside):
            y = fastconv.conv2d(x, weight, groups=64, out=out, algorithm="depthwise", **options)
            assert_conv2d(y, x, weight, groups=64, **options)


# Channels, from one pixel to the next, and columns between rows: what of it is no whole vector.
LARGE_VIEWS = {
    "channels": (63, 64, 0),
    "pixels": (64, 68, 0),
    "rows": (64, 64, 4),
}


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("groups", [1, 64], ids=["1x1", "depthwise"])
@pytest.mark.parametrize(("channels", "pixel", "more"), LARGE_VIEWS.values(), ids=LARGE_VIEWS.keys())
def test_views_larger_than_the_caches(channels: int, pixel: int, more: int, groups: int, name: str) -> None:
    """Views for results that begin with a vector, but do not go on so: nothing between pixels is written."""
    height, width = 290, 304
    row = width * pixel + more
    memory = np.full(height * row + 16, np.nan, np.float32)
    memory = memory[-memory.ctypes.data // 4 % 16 :][: height * row]
    assert memory.ctypes.data % 64 == 0
    steps = (4 * height * row, 4 * row, 4 * pixel, 4)
    out = np.lib.stride_tricks.as_strided(memory, (1, height, width, channels), steps)
    inputs = 3 if groups == 1 else channels
    x = normal((1, height, width, inputs), np.float32, 1)
    weight = normal((channels, 3, 1, 1) if groups == 1 else (channels, 1, 1, 3), np.float32, 2)
    how: dict[str, Any] = {"layout": "NHWC", "groups": 1 if groups == 1 else channels}
    how |= {"padding": (0, 0 if groups == 1 else 1), "algorithm": "direct" if groups == 1 else "depthwise"}
    with isa(name), threads(2):
        expected = fastconv.conv2d(x, weight, **how)
        fastconv.conv2d(x, weight, out=out, **how)
    assert np.array_equal(out, expected)
    out[...] = np.nan
    assert np.isnan(memory).all()


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("channels", "size"), [(9, (8, 24)), (33, (80, 80))])
def test_pixels_read_in_place_from_any_address(
    channels: int, size: tuple[int, int], dtype: Any, name: str
) -> None:
    """Pixels before the first whole vector, and after the last, whatever is left of one: each is written."""
    x, weight = normal((1, channels, *size), dtype, 1), normal((7, channels, 1, 1), dtype, 2)
    found = []
    with isa(name):
        for past in range(17):
            memory = np.full(x.size + 32, np.nan, dtype)
            memory[past : past + x.size] = x.ravel()
            image, out = memory[past : past + x.size].reshape(x.shape), np.full((1, 7, *size), np.nan, dtype)
            found.append(fastconv.conv2d(image, weight, algorithm="im2col", out=out))
    assert_conv2d(found[0], x, weight)
    assert all(same_bits(found[0], other) for other in found)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_few_outputs_of_more_channels_than_a_block_has(dtype: Any, name: str) -> None:
    """An image that streams by twice; pixels after its last vector are added to once each time."""
    x, weight = integers((1, 2500, 45, 46), dtype, 1), integers((3, 2500, 1, 1), dtype, 2)
    with isa(name):
        y = fastconv.conv2d(x, weight, algorithm="im2col", activation="relu")
    np.testing.assert_array_equal(y[0], np.maximum(np.tensordot(weight[:, :, 0, 0], x[0], 1), 0))


def test_exact_mode_keeps_the_bound() -> None:
    x, weight = normal((1, 16, 28, 28), np.float32, 1), normal((16, 16, 3, 3), np.float32, 2)
    fastconv.set_exact(True)
    try:
        y = fastconv.conv2d(x, weight, padding=1)
    finally:
        fastconv.set_exact(False)
    assert_conv2d(y, x, weight, padding=1)


def test_denormals_are_flushed_at_most_and_the_mode_is_put_back() -> None:
    tiny = np.full((1, 4, 40, 40), 1e-41, np.float32)
    weight = normal((4, 4, 3, 3), np.float32, 1)
    assert_conv2d(fastconv.conv2d(tiny, weight), tiny, weight)
    assert np.float32(1e-41) * np.float32(0.5) > 0
    assert tiny[0, 0, 0, :3].sum() > 0


# --- What may be given as an array --------------------------------------------------------------------


class Interface:
    """An array that only has __array_interface__."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


class DLPack:
    """An array that only speaks DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **how: Any) -> Any:
        return self._array.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def every_other(a: np.ndarray) -> np.ndarray:
    return amid_nan(a, "steps")


def reversed_axes(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[(slice(None, None, -1),) * a.ndim]


def misaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


def odd_strides(a: np.ndarray) -> np.ndarray:
    """Strides that are no multiple of the item size."""
    fields = np.zeros(a.shape, np.dtype([("value", a.dtype), ("rest", np.uint8)]))
    fields["value"] = a
    return fields["value"]


def read_only(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


def swapped_bytes(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder("S"))


class Subclass(np.ndarray):
    pass


FORMS = {
    "sliced": lambda a: amid_nan(a, "rows"),
    "every other": every_other,
    "reversed": reversed_axes,
    "Fortran order": np.asfortranarray,
    "axes exchanged": lambda a: np.ascontiguousarray(a.T).T,
    "misaligned": misaligned,
    "odd strides": odd_strides,
    "read-only": read_only,
    "other byte order": swapped_bytes,
    "other byte order, every other": lambda a: swapped_bytes(every_other(a)),
    "subclass": lambda a: a.copy().view(Subclass),
    "memmap": lambda a: np.array(a).view(np.memmap),
    "memoryview": memoryview,
    "bytes, cast": lambda a: memoryview(a.tobytes()).cast("B").cast(a.dtype.char, a.shape),
    "__array_interface__": Interface,
    "DLPack": DLPack,
}
if np.lib.NumpyVersion(np.__version__) >= "2.1.0":  # older ones do not export what is read-only
    FORMS["read-only DLPack"] = lambda a: DLPack(read_only(a))


@both_layouts
@both_dtypes
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_forms_of_arrays(form: Any, dtype: Any, layout: str) -> None:
    """Each argument in turn in another form: the same bits as from plain arrays, and nothing written."""
    x = to_layout(normal((2, 3, 8, 9), dtype, 1), layout)
    arrays = [x, normal((5, 3, 3, 3), dtype, 2), normal((5,), dtype, 3)]
    how = {"layout": layout, "padding": 1}
    expected = fastconv.conv2d(*arrays, **how)
    for index in range(3):
        given = list(arrays)
        given[index] = form(arrays[index])
        y = fastconv.conv2d(*given, **how)
        assert type(y) is np.ndarray
        assert same_bits(y, expected)
        if isinstance(given[index], np.ndarray):
            np.testing.assert_array_equal(np.asarray(given[index]), arrays[index])


def test_repeated_values_with_strides_of_zero() -> None:
    """Broadcast arrays are arrays like any other."""
    x = np.broadcast_to(normal((1, 4, 1, 6), np.float32, 1), (3, 4, 5, 6))
    weight = np.broadcast_to(normal((6, 1, 3, 3), np.float32, 2), (6, 4, 3, 3))
    bias = np.broadcast_to(np.float32(0.5), (6,))
    assert_conv2d(fastconv.conv2d(x, weight, bias, padding=1), x, weight, bias, padding=1)


@pytest.mark.parametrize("channels", [24, 301])
def test_pixels_read_in_place_and_copied_ones_have_the_same_bits(channels: int) -> None:
    """In NHWC, where channels are adjacent and where they are not; in one block of them, and in two."""
    x, weight = normal((1, 17, 18, channels), np.float32, 1), normal((9, channels, 3, 3), np.float32, 2)
    apart = np.zeros((*x.shape[:-1], 2 * channels), np.float32)[..., ::2]
    apart[...] = x
    for padding in (0, 1):
        expected = fastconv.conv2d(x, weight, padding=padding, layout="NHWC", algorithm="direct")
        made = fastconv.conv2d(apart, weight, padding=padding, layout="NHWC", algorithm="direct")
        assert same_bits(made, expected)


def test_one_axis_of_one_with_any_stride() -> None:
    """NumPy leaves anything in the stride of an axis of length one."""
    x, weight = normal((1, 1, 6, 7), np.float32, 1), normal((1, 1, 3, 3), np.float32, 2)
    odd = np.lib.stride_tricks.as_strided(x, x.shape, (1, 3, *x.strides[2:]))
    assert same_bits(fastconv.conv2d(odd, weight), fastconv.conv2d(x, weight))


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, weight, bias = normal((2, 4, 9, 8), seed=1), normal((6, 4, 3, 3), seed=2), normal((6,), seed=3)
    expected = fastconv.conv2d(x, weight, bias, padding=1)
    tx, tw, tb = map(torch.from_numpy, (x, weight, bias))
    y = fastconv.conv2d(tx, tw, tb, padding=1)
    assert type(y) is np.ndarray
    assert same_bits(y, expected)
    last = tx.contiguous(memory_format=torch.channels_last)
    assert same_bits(fastconv.conv2d(last, tw, tb, padding=1), expected)
    ours = torch.from_numpy(y)
    theirs = torch.nn.functional.conv2d(tx.double(), tw.double(), tb.double(), padding=1)
    assert_within(ours.numpy(), theirs.numpy(), reference.error_bound(x, weight, bias, padding=1))
    with pytest.raises(TypeError, match=r"x.*detach"):
        fastconv.conv2d(tx.clone().requires_grad_(), tw)
    with pytest.raises(TypeError, match=r"x.*float16"):
        fastconv.conv2d(tx.half(), tw)


@pytest.mark.parametrize("argument", ["x", "weight", "bias"])
@pytest.mark.parametrize(
    "dtype",
    ["float16", "longdouble", "int8", "uint8", "int64", "bool", "complex64", "object", "U3", "M8[s]"],
    ids=str,
)
def test_other_dtypes_name_the_cast(dtype: str, argument: str) -> None:
    arrays = {"x": np.ones((1, 2, 5, 5)), "weight": np.ones((3, 2, 3, 3)), "bias": np.ones(3)}
    arrays[argument] = np.zeros(arrays[argument].shape, dtype)
    with pytest.raises(TypeError) as raised:
        fastconv.conv2d(**arrays)
    message = str(raised.value)
    assert argument in message
    assert str(arrays[argument].dtype) in message
    assert f"{argument}.astype(np.float32)" in message


# --- out ----------------------------------------------------------------------------------------------


@both_layouts
@both_dtypes
@pytest.mark.parametrize("memory", ["contiguous", "rows", "steps", "reversed"])
def test_out_in_any_memory(memory: str, dtype: Any, layout: str) -> None:
    x, weight, bias = to_layout(normal((2, 3, 7, 11), dtype, 1), layout), normal((5, 3, 3, 3), dtype, 2), None
    expected = fastconv.conv2d(x, weight, bias, layout=layout)
    poisoned = Poisoned(expected.shape, dtype, memory)
    assert fastconv.conv2d(x, weight, bias, layout=layout, out=poisoned.out) is poisoned.out
    poisoned.check()
    assert same_bits(np.ascontiguousarray(poisoned.out), expected)


def test_out_with_axes_exchanged() -> None:
    """NCHW written into channels-last memory, and into Fortran order."""
    x, weight = normal((2, 3, 7, 11), np.float32, 1), normal((5, 3, 3, 3), np.float32, 2)
    expected = fastconv.conv2d(x, weight)
    last = np.full((2, 5, 9, 5), np.nan, np.float32)
    fastconv.conv2d(x, weight, out=np.moveaxis(last, -1, 1))
    assert same_bits(np.ascontiguousarray(np.moveaxis(last, -1, 1)), expected)
    fortran = np.full(expected.shape, np.nan, np.float32, order="F")
    fastconv.conv2d(x, weight, out=fortran)
    assert same_bits(np.ascontiguousarray(fortran), expected)


def test_out_may_lie_between_the_elements_of_x() -> None:
    """One array, every other column an input: they share a range of addresses and not one byte."""
    x, weight = normal((1, 2, 6, 8), np.float32, 1), normal((2, 2, 3, 3), np.float32, 2)
    both = np.zeros((1, 2, 6, 16), np.float32)
    both[..., ::2] = x
    fastconv.conv2d(both[..., ::2], weight, padding=1, out=both[..., 1::2])
    assert same_bits(np.ascontiguousarray(both[..., 1::2]), fastconv.conv2d(x, weight, padding=1))
    np.testing.assert_array_equal(both[..., ::2], x)


def test_out_is_used_again_and_again() -> None:
    """What was in out before does not matter."""
    x, weight = normal((1, 4, 12, 13), np.float32, 1), normal((6, 4, 3, 3), np.float32, 2)
    expected = fastconv.conv2d(x, weight, padding=1)
    out = np.empty_like(expected)
    for before in (np.nan, np.inf, 0, 1e30):
        out[...] = before
        fastconv.conv2d(x, weight, padding=1, out=out)
        assert same_bits(out, expected)
