"""Convolutions whose shapes sit on, just below and just above the tiles of the kernels.

Used by test_conv_algorithms.py and test_threads.py.  Vectors have 4, 8 or 16 lanes (2 in NEON's float64),
tiles 4 to 14 rows and panels of up to four vectors, so 8 to 64 lanes; groups of 36 rows go through all
panels, and blocks of the depth are up to 2304 long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any

from conv_case import Case


def tiles() -> Iterator[Case]:
    """Lanes and rows of tiles: equal, a multiple, one less and one more, in pixels and in channels."""
    rows = cycle([1, 3, 4, 5, 6, 7, 11, 12, 13, 2, 8, 9, 10, 14, 15, 24, 25])
    channels = cycle([5, 1, 8, 3, 4, 17, 16])
    for lanes in (4, 8, 12, 16, 24, 32, 48):
        for count in (lanes - 1, lanes, lanes + 1):
            r, c = next(rows), next(channels)
            yield Case(f"1x1, {count} pixels, {r} outputs", c, r, (1, count), (1, 1))
            r, c = next(rows), next(channels)
            yield Case(f"1x1, {count} outputs, {r} pixels", c, count, (r, 1), (1, 1))
            r, c = next(rows), next(channels)
            yield Case(f"3x3, rows of {count}, {r} outputs", c, r, (3, count), padding=1)
            yield Case(f"3x3, {count} outputs, rows of {r}", c, count, (4, r), padding=(0, 1))
    yield Case("1x1, five panels of 24 and a pixel, four tiles of 6 and a row", 9, 25, (11, 11), (1, 1))
    yield Case("3x3, 65 outputs, planes of 13x11", 33, 65, (13, 11), padding=1)
    for vectors in (4, 5, 7, 8, 10):
        pixels = 16 * vectors
        yield Case(f"1x1, {vectors} vectors, a group of rows and one", 41, 37, (1, pixels), (1, 1))
        yield Case(f"1x1, {vectors} vectors less a pixel, two groups", 7, 72, (1, pixels - 1), (1, 1))
        yield Case(f"1x1, {pixels} outputs, a group of pixels and one", 9, pixels, (37, 1), (1, 1))
    yield Case("1x1, vectors and a pixel, rows of two parts and one", 45, 289, (7, 7), (1, 1))
    yield Case("1x1, vectors and two pixels", 20, 37, (2, 25), (1, 1))
    yield Case("1x1, vectors and three pixels", 50, 37, (1, 51), (1, 1))
    yield Case("1x1, panels across five images", 45, 38, (7, 7), (1, 1), batch=5)
    yield Case("3x3, panels across five images", 9, 38, (7, 7), padding=1, batch=5)
    yield Case("3x3 stride 2, panels across images", 9, 20, (9, 7), padding=1, stride=2, batch=4)
    # What is left of several images' pixels fills a vector; fewer images in the last task; groups.
    for size, batch, groups in (((14, 14), 8, 1), ((2, 29), 9, 2), ((5, 5), 17, 1), ((9, 9), 33, 3)):
        yield Case(
            f"1x1, last pixels of {batch} images of {size}", 42, 36, size, (1, 1), batch=batch, groups=groups
        )
    yield Case("1x1, last pixels of images, and work for tasks", 96, 144, (10, 10), (1, 1), batch=35)
    yield Case("1x1, more image than L2 holds half of", 64, 19, (79, 70), (1, 1))
    # Few outputs: eight channels at a time, of 1024 and 512 pixels; a tail of them, and none.
    for inputs, outputs, size in ((67, 1, (79, 70)), (64, 3, (64, 80)), (71, 8, (73, 71)), (71, 9, (73, 71))):
        yield Case(f"1x1, {inputs} to {outputs} of an image from memory", inputs, outputs, size, (1, 1))
    yield Case("1x1, more weights than L2 holds half of", 600, 500, (5, 5), (1, 1))
    # In place, by aligned vectors: planes of whole vectors and of any size, by the rows that decide.
    for outputs, depth, size in (
        (5, 9, (8, 16)),
        (24, 31, (9, 16)),
        (24, 31, (7, 19)),
        (25, 31, (7, 19)),
        (96, 65, (8, 18)),
        (97, 65, (8, 18)),
        (97, 64, (8, 18)),
    ):
        yield Case(f"1x1, {depth} to {outputs} of {size}, in place", depth, outputs, size, (1, 1), batch=2)
    yield Case("1x1, in place, several blocks of pixels", 33, 8, (80, 80), (1, 1))
    yield Case("1x1, in place, several blocks of pixels, the last cut", 33, 8, (77, 83), (1, 1))
    yield Case("1x1, in place, two groups", 18, 10, (16, 17), (1, 1), groups=2)
    yield Case("1x1, so few outputs that x could stream by", 34, 2, (36, 44), (1, 1), groups=2, batch=3)


def points() -> Iterator[Case]:
    """Channels side by side in NHWC, enough of them and of pixels that none is copied: 24 and 256."""
    for channels, size in ((23, (16, 16)), (24, (16, 16)), (25, (15, 17)), (24, (16, 15))):
        yield Case(f"3x3, {channels} channels of {size[0] * size[1]} pixels", channels, 17, size, padding=1)
    yield Case("3x3 stride 2, pixels of three images", 31, 35, (23, 21), padding=1, stride=2, batch=3)
    yield Case("3x3 dilation 7, most taps in the padding", 24, 10, (17, 18), padding=7, dilation=7)
    yield Case("5x2, padding unlike, groups", 50, 18, (20, 19), (5, 2), padding=((4, 0), (0, 3)), groups=2)
    yield Case("3x3 without padding, channels in two blocks", 301, 9, (18, 20))
    yield Case("3x3, channels in three blocks, the last fewer", 530, 50, (16, 17), padding=1)
    yield Case("8x8 stride 3", 24, 5, (50, 49), (8, 8), padding=4, stride=3)
    yield Case("9x7, a tap less than is found", 24, 5, (20, 24), (9, 7), padding=(4, 3))


def depths() -> Iterator[Case]:
    """The depth of the sum: blocks of it equal, one less, one more."""
    for depth in (255, 256, 257, 383, 384, 385, 511, 512, 513, 577, 1025, 1153):
        yield Case(f"1x1, depth {depth}", depth, 7, (3, 9), (1, 1))
    for depth in (2303, 2304, 2305, 4609):
        yield Case(f"1x1, depth {depth}", depth, 5, (3, 6), (1, 1))
    for batch in (1, 2, 3):
        yield Case(f"one pixel, filters pages apart, batch {batch}", 1024, 31, (1, 1), (1, 1), batch=batch)
    yield Case("3x3, depth 2313", 257, 9, (4, 5), padding=1)
    for channels in (28, 29, 57, 64, 65, 128):
        yield Case(f"3x3, depth {9 * channels}", channels, 13, (5, 8), padding=1)
    yield Case("5x5, depth 525", 21, 9, (9, 9), (5, 5), padding=2)
    yield Case("3x3, depth 1152, planes of 49", 128, 20, (7, 7), padding=1)


def kernels() -> Iterator[Case]:
    """Kernels of every form, up to those larger than any tile."""
    yield Case("1x7", 6, 9, (5, 19), (1, 7), padding=(0, 3))
    yield Case("7x1", 6, 9, (19, 5), (7, 1), padding=(3, 0))
    yield Case("1x7 valid", 3, 5, (4, 30), (1, 7))
    yield Case("7x1 valid", 3, 5, (30, 4), (7, 1))
    yield Case("2x2", 7, 6, (9, 10), (2, 2))
    yield Case("4x3", 7, 6, (9, 10), (4, 3), padding=((1, 2), (1, 1)))
    yield Case("3x4 same", 4, 12, (10, 17), (3, 4), padding="same")
    yield Case("4x4 same_lower", 4, 12, (10, 17), (4, 4), padding="same_lower")
    yield Case("5x5", 8, 8, (12, 23), (5, 5), padding=2)
    yield Case("7x7 stride 2, three channels", 3, 16, (29, 31), (7, 7), stride=2, padding=3)
    yield Case("11x11 stride 4", 3, 10, (47, 43), (11, 11), stride=4, padding=2)
    yield Case("as large as the image", 20, 13, (9, 9), (9, 9))
    yield Case("as large as the padded image", 5, 4, (3, 4), (7, 6), padding=((2, 2), (1, 1)))
    yield Case("31x31 around a smaller image", 3, 5, (17, 20), (31, 31), padding=15)
    yield Case("31x31 valid", 2, 7, (33, 40), (31, 31))
    yield Case("31x1", 2, 3, (40, 6), (31, 1), padding=(15, 0))
    yield Case("1x31", 2, 3, (6, 40), (1, 31), padding=(0, 15))


def steps() -> Iterator[Case]:
    """Strides and dilations."""
    yield Case("1x1 stride 2", 6, 10, (15, 18), (1, 1), stride=2)
    yield Case("1x1 stride 3, even size", 9, 5, (10, 34), (1, 1), stride=3)
    yield Case("2x2 stride 3", 5, 7, (11, 14), (2, 2), stride=3)
    yield Case("3x3 stride 2", 8, 12, (17, 33), stride=2, padding=1)
    yield Case("3x3 stride 2, even size", 8, 12, (16, 34), stride=2, padding=1)
    yield Case("3x3 stride (3, 1)", 4, 6, (13, 21), stride=(3, 1), padding=1)
    yield Case("3x3 stride (1, 2)", 4, 6, (13, 21), stride=(1, 2), padding=1)
    yield Case("stride larger than the image", 4, 6, (5, 6), stride=7, padding=1)
    yield Case("stride larger than kernel and padding", 3, 9, (4, 9), (2, 2), stride=5, padding=3)
    yield Case("stride 2**62", 3, 9, (4, 9), (2, 2), stride=2**62)
    yield Case("stride 2**62 in groups", 6, 4, (4, 9), (2, 2), stride=2**62, groups=2)
    yield Case("same, stride 2", 5, 8, (14, 15), stride=2, padding="same")
    yield Case("same_lower, stride 3, even kernel", 5, 8, (14, 15), (4, 2), stride=3, padding="same_lower")
    yield Case("dilation 2", 6, 7, (14, 20), padding=2, dilation=2)
    yield Case("dilation (3, 2), stride 2", 6, 7, (14, 20), padding=2, dilation=(3, 2), stride=2)
    yield Case("dilation as far as the image goes", 3, 4, (13, 15), dilation=(6, 7))
    yield Case("dilation that only touches padding", 5, 9, (5, 5), padding=20, dilation=20)
    yield Case("dilation (1, 7) in a row of 5", 5, 9, (6, 5), (1, 3), padding=(0, 7), dilation=(1, 7))
    for stride in (2**31, 2**62):
        yield Case(f"stride {stride}, depthwise", 6, 6, (5, 7), groups=6, stride=stride, padding=(1, 2))
        yield Case(f"stride {stride} along one axis", 6, 6, (5, 40), (3, 2), groups=6, stride=(stride, 1))
    yield Case("dilation of a 1x1 kernel", 4, 6, (7, 9), (1, 1), dilation=2**62)
    most = 2**63 - 1
    yield Case("dilation 2**63 - 1 of a 1x1 kernel", 4, 6, (7, 9), (1, 1), padding=7, dilation=most)
    yield Case("the same, depthwise", 33, 33, (7, 9), (1, 1), padding=7, dilation=most, groups=33)
    yield Case("the same of an axis", 33, 33, (7, 9), (3, 1), padding=40, dilation=(1, most), groups=33)


def borders() -> Iterator[Case]:
    """Padding, and images as small as they come."""
    yield Case("padding beyond the kernel", 3, 8, (6, 7), padding=5)
    yield Case("padding behind only", 4, 5, (6, 9), padding=((0, 2), (0, 2)))
    yield Case("padding before only", 4, 5, (6, 9), padding=((2, 0), (2, 0)))
    yield Case("padding of four widths", 4, 5, (6, 9), padding=((0, 2), (3, 1)))
    yield Case("padding of a 1x1 kernel", 4, 5, (6, 9), (1, 1), padding=(1, 2))
    yield Case("outputs that see padding alone, above and right", 3, 4, (4, 4), padding=((9, 0), (0, 11)))
    yield Case("one pixel, 1x1", 7, 9, (1, 1), (1, 1))
    yield Case("one pixel, 3x3", 7, 9, (1, 1), padding=1)
    yield Case("one pixel, 5x5, 16 channels to 24", 16, 24, (1, 1), (5, 5), padding=2)
    yield Case("one pixel, 3x3 among padding", 3, 2, (1, 1), padding=3)
    yield Case("one pixel and one channel", 1, 1, (1, 1), (1, 1))
    yield Case("one row", 5, 6, (1, 40), padding=1)
    yield Case("one column", 5, 6, (40, 1), padding=1)


def batches() -> Iterator[Case]:
    """Batches, of planes small enough to be put together and of larger ones."""
    yield Case("five planes of 7x7, 1x1", 12, 20, (7, 7), (1, 1), batch=5)
    yield Case("33 planes of one pixel", 10, 9, (1, 1), (1, 1), batch=33)
    yield Case("17 planes of 2x2", 6, 13, (2, 2), batch=17, padding=1)
    yield Case("nine planes of 3x3", 17, 17, (3, 3), batch=9, padding=1)
    yield Case("seven planes of 4x4, stride 2", 8, 16, (4, 4), batch=7, padding=1, stride=2)
    yield Case("three planes of 14x14", 16, 12, (14, 14), batch=3, padding=1)
    yield Case("batch of depthwise planes", 9, 9, (7, 7), batch=5, groups=9, padding=1)
    yield Case("batch of grouped planes", 8, 12, (5, 5), batch=4, groups=4, padding=1)


def few_pixels() -> Iterator[Case]:
    """Tiles of 1 to 8 pixels by 1 to 12 rows, and one pixel more than are done at once."""
    rows = cycle([1, 2, 5, 6, 7, 11, 12, 13, 23, 25, 97])
    for batch in (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 56, 57, 113):
        yield Case(f"{batch} planes of one pixel, depth 33", 33, next(rows), (1, 1), (1, 1), batch=batch)
    for depth in (511, 512, 513, 1023, 1024, 1025, 2049):
        yield Case(f"two pixels, depth {depth}", depth, 13, (1, 2), (1, 1))
    yield Case("kernels as large as the image", 10, 25, (7, 6), (7, 6), batch=3)
    yield Case("kernels as large as the padded image", 10, 25, (5, 6), (7, 8), batch=3, padding=1)
    yield Case("one pixel in 3 groups, kernels as large as the image", 12, 27, (3, 3), groups=3, batch=2)
    yield Case("one pixel of a larger image", 5, 14, (9, 9), (5, 5), stride=5)


def large() -> Iterator[Case]:
    """Enough for several blocks of everything: bands, panels, depths, channels."""
    yield Case("3x3 64 to 64", 64, 64, (56, 56), padding=1)
    yield Case("3x3 on two images of 61x67", 16, 24, (61, 67), batch=2, padding=1)
    yield Case("3x3 stride 2 to odd sizes", 32, 48, (57, 55), stride=2, padding=1)
    yield Case("1x1 64 to 96", 64, 96, (57, 59), (1, 1))
    yield Case("1x1 300 to 270", 300, 270, (9, 9), (1, 1))
    yield Case("3x3 288 to 40", 288, 40, (15, 14), padding=1)
    yield Case("3x3 321 to 20", 321, 20, (6, 9), padding=1)
    yield Case("3x3 8 to 129", 8, 129, (11, 10), padding=1)
    yield Case("3x3 20 to 260", 20, 260, (6, 9))
    yield Case("3x3 64 to 64, five planes of 14x14", 64, 64, (14, 14), batch=5, padding=1)
    # Over a mebibyte and no padding: lines of 16 channels, one less, one more, and several blocks of them.
    yield Case("3x3 stride 2 on lines of 17 channels", 17, 33, (91, 93), stride=2, batch=2)
    yield Case("2x2 stride 2 on lines of 15 channels", 15, 16, (100, 100), (2, 2), stride=2, batch=2)
    yield Case("6x6 stride 5 on lines of 65 channels", 65, 65, (65, 66), (6, 6), stride=5)
    yield Case("2 groups of 16, stride 3 on lines", 32, 40, (92, 97), groups=2, stride=3)
    yield Case("7x7 stride 2, first layer", 3, 64, (112, 112), (7, 7), stride=2, padding=3)
    yield Case("5x5 dilation 2", 8, 8, (100, 131), (5, 5), padding=4, dilation=2)
    yield Case("very wide", 3, 4, (3, 2100), padding=1)
    yield Case("very high", 3, 4, (2100, 3), padding=1)
    yield Case("depthwise 61x67", 40, 40, (61, 67), groups=40, padding=1)
    yield Case("depthwise 130x131 stride 2", 20, 20, (130, 131), groups=20, padding=1, stride=2)
    yield Case("depthwise of 257 channels", 257, 257, (14, 14), groups=257, padding=1)
    yield Case("grouped 61x67", 32, 32, (61, 67), groups=8, padding=1)
    yield Case("two deep groups", 256, 64, (15, 13), groups=2, padding=1)


def depthwise() -> Iterator[Case]:
    """A group for every channel: widths and channels around vectors, kernels, strides, multipliers."""
    counts = cycle([8, 1, 7, 9, 16, 3, 15, 17, 24, 33, 32, 5])
    squares = cycle([3, 5, 3, 7, 3, 1, 3, 5, 2])
    strides = cycle([1, 1, 2, 1, 2, 3, 1])
    heights = cycle([7, 4, 9, 5, 12, 13, 1, 8, 6, 3, 2])
    for width in (1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 56, 65):
        c, k, s, height = next(counts), next(squares), next(strides), next(heights)
        name = f"depthwise {k}x{k} stride {s}, {c} of {height}x{width}"
        yield Case(name, c, c, (height, width), (k, k), groups=c, stride=s, padding=k // 2)
    for c, multiplier in ((8, 2), (3, 3), (17, 2), (4, 5), (1, 6), (9, 8)):
        name = f"depthwise, {c} channels times {multiplier}"
        yield Case(name, c, c * multiplier, (9, 10), groups=c, padding=1)
    yield Case("depthwise times 3, stride 2, 5x5", 7, 21, (11, 19), (5, 5), groups=7, padding=2, stride=2)
    yield Case("depthwise valid", 9, 9, (10, 18), groups=9)
    yield Case("depthwise dilation 2", 9, 9, (13, 22), groups=9, padding=2, dilation=2)
    yield Case(
        "depthwise dilation (1, 3), stride (2, 1)", 8, 8, (13, 22), groups=8, dilation=(1, 3), stride=(2, 1)
    )
    yield Case("depthwise dilation 4, strips", 130, 130, (9, 75), groups=130, padding=4, dilation=4)
    yield Case("depthwise dilation 4, pixels in one set", 256, 256, (3, 70), (1, 3), groups=256, dilation=4)
    yield Case("depthwise dilation that only touches padding", 6, 6, (4, 5), groups=6, padding=9, dilation=9)
    yield Case("depthwise stride 4", 8, 8, (17, 35), groups=8, padding=1, stride=4)
    for width in (
        13,
        15,
        16,
        28,
        31,
        32,
        3 * 16 * 9 + 2,
    ):  # one register, two, with a lane to spare or not, strips
        for stride in (2, 3, 4):
            name = f"depthwise stride {stride}, rows of {width} in place"
            yield Case(name, 20, 20, (31, width), groups=20, padding=1, stride=stride)
    yield Case(
        "depthwise 5x5 stride (2, 3), dilation (1, 2)",
        20,
        20,
        (17, 29),
        (5, 5),
        groups=20,
        padding=4,
        dilation=(1, 2),
        stride=(2, 3),
    )
    yield Case("depthwise 7x13 stride 4", 16, 16, (23, 150), (7, 13), groups=16, padding=(3, 6), stride=4)
    # Tasks of some rows; all lanes of the last vector stored, the last of which sees a column of padding; one
    # output more than a vector of 16 has.
    for width, k in ((31, 5), (15, 3)):
        name = f"depthwise {k}x{k} stride 2, narrow of {width}, rows of several tasks"
        yield Case(name, 2, 2, (1801, width), (k, k), groups=2, padding=k // 2, stride=2)
    yield Case("depthwise stride 3, rows of several tasks", 2, 2, (401, 100), groups=2, padding=1, stride=3)
    yield Case("depthwise stride 3, rows of 94", 6, 6, (14, 94), groups=6, padding=1, stride=3)
    yield Case("depthwise 4x4 stride 4, rows of 126", 6, 6, (18, 126), (4, 4), groups=6, padding=1, stride=4)
    wide: dict[str, Any] = {"groups": 20, "padding": (2, 12), "stride": 3}
    yield Case("depthwise 5x5 stride 3, 17 outputs", 20, 20, (21, 31), (5, 5), **wide)
    yield Case("depthwise stride beyond the kernel", 8, 8, (17, 35), (2, 2), groups=8, stride=5)
    yield Case("depthwise same, stride 2, even size", 10, 10, (14, 32), groups=10, stride=2, padding="same")
    yield Case("depthwise padding of four widths", 5, 5, (8, 17), groups=5, padding=((0, 3), (4, 1)))
    yield Case("depthwise padding beyond the kernel", 5, 5, (3, 9), groups=5, padding=6)
    yield Case("depthwise 1x7", 8, 8, (6, 25), (1, 7), groups=8, padding=(0, 3))
    yield Case("depthwise 7x1", 8, 8, (25, 6), (7, 1), groups=8, padding=(3, 0))
    # Rows that make up tiles of 14, 8 and 7, and nearly so.
    for height in (7, 8, 13, 14, 15, 20, 22, 28):
        yield Case(f"depthwise, {height} rows", 19, 19, (height, 17), groups=19, padding=1)
        yield Case(
            f"depthwise 5x5 stride 2, {height} rows",
            19,
            19,
            (2 * height, 15),
            (5, 5),
            groups=19,
            padding=2,
            stride=2,
        )
    yield Case("depthwise 4x6", 8, 8, (15, 26), (4, 6), groups=8, padding=(2, 3))
    yield Case("depthwise 15x15", 5, 5, (20, 37), (15, 15), groups=5, padding=7)
    yield Case("depthwise 31x31", 3, 3, (20, 37), (31, 31), groups=3, padding=15)
    yield Case("depthwise 9x9 on one pixel", 18, 18, (1, 1), (9, 9), groups=18, padding=4)
    yield Case("16 channels, multiplier 9: several blocks of channels", 16, 144, (1, 73), (1, 2), groups=16)
    ends = ((0, 0), (2, 3))
    yield Case("19 channels, multiplier 9, 1x1", 19, 171, (1, 72), (1, 1), groups=19, padding=ends)


def winograd_cases() -> list[Case]:
    """Winograd's forms: tiles equal to the plane, a multiple, one less and one more, along either axis."""
    found = [
        Case(f"5x5 on {h}x{w}", c, o, (h, w), (5, 5), padding=2, batch=n)
        for h, w, c, o, n in ((1, 1, 3, 5, 1), (2, 3, 17, 33, 2), (4, 4, 16, 32, 1), (9, 14, 130, 20, 1))
    ]
    for taps, width in ((3, 4), (3, 9), (3, 31), (5, 7), (5, 8), (5, 13), (7, 3), (7, 4), (7, 17)):
        pad = taps // 2
        found.append(Case(f"1x{taps}, rows of {width}", 19, 33, (5, width), (1, taps), padding=(0, pad)))
        high = Case(f"{taps}x1, columns of {width}", 33, 19, (width, 5), (taps, 1), padding=(pad, 0), batch=2)
        found.append(high)
    found += [
        Case("1x7 valid, 140 channels", 140, 9, (3, 23), (1, 7)),
        Case("3x5", 18, 20, (9, 11), (3, 5), padding=(1, 2)),
        Case("5x3, padding of four widths", 9, 20, (9, 11), (5, 3), padding=((0, 3), (2, 1))),
        Case("3x3 in two chunks of channels", 200, 40, (9, 10), padding=1, batch=2),
        Case("3x3, more tiles than a block", 150, 70, (62, 63), padding=1),
        Case("3x3 in groups", 150, 18, (9, 10), padding=1, groups=2, activation="relu"),
    ]
    # Phases of 8, 8 or 9, 9; of one tile; of two outputs, two or one, one; of one output beside padding.
    sizes = ((16, 2), (17, 2), (18, 2), (33, 8), (10, 3), (12, 4), (12, 6), (11, 6), (6, 6), (5, 9), (5, 24))
    for size, d in sizes:
        found.append(Case(f"dilation {d} on {size}", 17, 20, (size, size + 3), padding=d, dilation=d))
    found += [
        Case("dilation (1, 5)", 9, 20, (9, 22), padding=(1, 5), dilation=(1, 5)),
        Case("dilation (7, 2)", 9, 20, (22, 9), padding=(7, 2), dilation=(7, 2), batch=3),
        Case("dilation 18 on two chunks of channels", 140, 40, (33, 33), padding=18, dilation=18),
        Case("dilation 6, valid", 9, 20, (27, 25), dilation=6),
        Case("dilation 6, phases of two that see more", 9, 20, (12, 12), padding=8, dilation=6),
        Case("dilation 3 of 1x7", 9, 20, (4, 29), (1, 7), padding=(0, 9), dilation=3),
        Case("dilation 2 of 5x5", 9, 20, (15, 12), (5, 5), padding=4, dilation=2),
    ]
    return found


def grouped_blocks() -> Iterator[Case]:
    """Groups whose output channels are lanes of copied blocks: as many of a unit as lanes, fewer and more."""
    pairs = ((16, 8), (16, 4), (8, 2), (5, 3), (12, 16), (16, 17), (3, 6), (9, 1), (40, 7), (2, 16))
    kernels = cycle(
        [((7, 7), 2), ((9, 9), 3), ((1, 7), 2), ((7, 1), 4), ((5, 5), 1), ((2, 2), 4), ((4, 4), 3)]
    )
    for (c, o), g in zip(pairs, cycle([3, 8, 17, 5])):
        kernel, stride = next(kernels)
        pads = (kernel[0] // 2, (kernel[1] - 1) // 2)
        name = f"{g} groups of {c} to {o} in blocks, {kernel[0]}x{kernel[1]} stride {stride}"
        yield Case(name, g * c, g * o, (13, 19), kernel, groups=g, stride=stride, padding=pads, batch=3)
    # Tiles of eight columns: one less, as many, one more; of images, rows, and pieces of one row.
    for size, batch in (((3, 7), 9), ((8, 8), 2), ((9, 9), 1), ((1, 140), 1), ((5, 1), 16), ((1, 1), 40)):
        name = f"8 groups of 16 to 4 in blocks, {size[0]}x{size[1]}"
        yield Case(name, 128, 32, size, (5, 3), groups=8, padding=(2, 1), batch=batch, activation="relu")
    yield Case(
        "5 groups of 16 to 4 in blocks, strides beyond the kernel",
        *(80, 20, (21, 30), (2, 3)),
        groups=5,
        stride=(4, 5),
        padding=(1, 2),
        batch=2,
    )
    yield Case(
        "8 groups of 16 to 4 in blocks, dilation", 128, 32, (17, 21), groups=8, padding=3, dilation=(2, 3)
    )


def grouped() -> Iterator[Case]:
    """Groups of several channels, or of one with several outputs."""
    widths = cycle([8, 7, 9, 16, 17, 5, 24, 33, 14])
    groups = cycle([2, 3, 4, 5, 8])
    pairs = ((1, 2), (2, 1), (2, 2), (3, 4), (4, 4), (4, 1), (5, 7), (8, 8), (7, 16), (16, 16), (24, 17))
    for c, o in pairs:
        g, width = next(groups), next(widths)
        name = f"{g} groups of {c} to {o}, rows of {width}"
        yield Case(name, g * c, g * o, (6, width), groups=g, padding=1)
    # Blocks of a few channels, the last with fewer than a vector of 16 or of 8.
    for g, c, kernel in ((3, 8, (7, 7)), (5, 8, (9, 7)), (3, 4, (14, 14)), (3, 2, (17, 17))):
        name = f"{g} groups of {c} to {c}, {kernel[0]}x{kernel[1]}, a few channels left"
        yield Case(name, g * c, g * c, (kernel[0] + 8, kernel[1] + 2), kernel, groups=g)
    # Four filters share what is loaded of rows that fill their vectors, in tiles of four rows.
    for height, width in ((3, 12), (4, 16), (5, 13), (9, 28), (8, 33)):
        for c, o in ((2, 4), (3, 8), (4, 12)):
            yield Case(
                f"3 groups of {c} to {o}, {height}x{width}",
                3 * c,
                3 * o,
                (height, width),
                groups=3,
                padding=1,
            )
    odd = (
        (3, 2, 1, 1),
        (5, 1, 1, 2),
        (5, 2, 1, 2),
        (7, 1, 1, 3),
        (2, 1, 1, 0),
        (4, 2, 1, 1),
        (3, 1, 3, 3),
        (3, 2, 2, 2),
    )
    for k, s, d, p in odd:
        name = f"2 groups of 3 to 4, {k}x{k} stride {s} dilation {d}"
        yield Case(name, 6, 8, (19, 27), (k, k), groups=2, stride=s, dilation=d, padding=p)
    yield Case(
        "2 groups of 4 to 4, padding of four widths", 8, 8, (11, 15), groups=2, padding=((2, 0), (0, 4))
    )
    yield Case("2 groups of 4 to 4, padding beyond the kernel", 8, 8, (3, 12), groups=2, padding=5)
    yield Case(
        "2 groups of 4 to 8, one row of 150", 8, 16, (1, 150), (1, 5), groups=2, padding=(0, 2), batch=2
    )
    yield Case(
        "2 groups of 4 to 8, one row of 150, stride 2",
        8,
        16,
        (1, 150),
        (1, 5),
        groups=2,
        padding=(0, 2),
        stride=2,
    )
    yield Case("4 groups, 1x1", 32, 24, (7, 9), (1, 1), groups=4)
    yield Case("4 groups, stride 2", 16, 16, (13, 18), groups=4, stride=2, padding=1)
    yield Case("2 groups, 5x5 stride 3", 6, 10, (17, 18), (5, 5), groups=2, stride=3, padding=2)
    yield Case("3 groups, dilation 2, valid", 9, 12, (11, 19), groups=3, dilation=2)
    yield Case("2 groups, padding of four widths", 6, 4, (7, 9), (2, 5), groups=2, padding=((0, 2), (3, 1)))
    yield Case("32 groups of 4, 7x7", 128, 128, (7, 7), groups=32, padding=1)
    yield from grouped_blocks()
    # One group of few channels: rows of y written in place where they fill their vectors, and rows by four.
    for width, stride, channels in (
        (16, 1, 3),
        (32, 2, 3),
        (33, 2, 4),
        (46, 2, 16),
        (31, 3, 2),
        (17, 1, 3),
        (29, 1, 15),
    ):
        yield Case(
            f"{channels} channels to 20, {width} columns, stride {stride}",
            channels,
            20,
            (7 * stride, width * stride),
            groups=1,
            stride=stride,
            padding=1,
        )
    yield Case("3 channels to 4, several tasks of rows", 3, 4, (45, 160), padding=1, batch=2)
    # One group of few outputs: panels as wide as there are for one and two; more channels than a band holds.
    for outputs, size, kernel, stride in (
        (1, (9, 64), (3, 3), 1),
        (1, (5, 65), (5, 4), 2),
        (2, (12, 79), (3, 7), 1),
        (3, (7, 113), (1, 5), 3),
        (24, (8, 33), (4, 4), 1),
    ):
        name = f"17 channels to {outputs}, {kernel[0]}x{kernel[1]}, stride {stride}"
        yield Case(name, 17, outputs, size, kernel, stride=stride, padding=1)
    yield Case("301 channels to 1 on long rows", 301, 1, (3, 700), padding=1)
    yield Case("301 channels to 2 on long rows, 1x5 dilation 3", 301, 2, (2, 700), (1, 5), dilation=3)
    yield Case("2 groups of 4 to 8, more than L2 holds", 8, 16, (130, 160), groups=2, padding=1, batch=3)
    # Output channels as lanes: groups that share a vector, whole or overlapping another; groups of vectors.
    for channels, groups in ((16, 8), (20, 10), (36, 9), (40, 5), (48, 3), (64, 2), (24, 12), (256, 32)):
        for size, stride in (((5, 14), 1), ((6, 23), 1), ((9, 29), 2)):
            name = f"{groups} groups of {channels // groups}, rows of {size[1]}, stride {stride}"
            yield Case(name, channels, channels, size, groups=groups, stride=stride, padding=1, batch=2)
    yield Case("4 groups of 3 to 32", 12, 128, (6, 15), groups=4, padding=1)
    yield Case("8 groups of 4, 5x7", 32, 32, (9, 30), (5, 7), groups=8, padding=(2, 3))
    yield Case(
        "8 groups of 4, dilation 2, stride (2, 3)",
        32,
        32,
        (11, 40),
        groups=8,
        stride=(2, 3),
        dilation=2,
        padding=2,
    )
    yield Case("2 groups of 32, padding of four widths", 64, 64, (7, 9), groups=2, padding=((2, 0), (0, 3)))
    # More rows of channels than a band has room for: the sum of one output in several passes.
    wide: dict[str, Any] = {"groups": 2, "padding": (3, 0), "activation": "relu"}
    yield Case("2 groups of 256, 7x1, rows of 80", 512, 4, (8, 80), (7, 1), **wide)
    yield Case("2 groups of 256, 7x1 valid, rows of 80", 512, 6, (8, 80), (7, 1), groups=2)


def depthwise_lanes() -> Iterator[Case]:
    """Blocks of channels amid zeros: tiles of 1 to 8 columns by rows, images or pieces of a row."""
    heights, channels, kernels = (
        cycle([5, 1, 8, 2, 16, 3, 9]),
        cycle([33, 16, 40, 8, 64, 15]),
        cycle([3, 5, 4, 9]),
    )
    for width in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31):
        c, height, k = next(channels), next(heights), next(kernels)
        size = (3 * height - 2, 3 * width - 2)
        yield Case(f"lanes {height}x{width} outputs", c, c, size, (k, k), groups=c, stride=3, padding=k // 2)
    for batch in (2, 7, 8, 9, 17):
        yield Case(f"lanes of {batch} images", 24, 24, (4, 3), (5, 3), batch=batch, groups=24, padding=(2, 1))
        yield Case(f"lanes of {batch} pixels", 80, 80, (1, 1), (3, 3), batch=batch, groups=80, padding=1)
    yield Case("lanes, one row in pieces", 24, 24, (1, 131), (1, 15), groups=24, stride=4, padding=(0, 7))
    yield Case("lanes, one column", 40, 40, (35, 1), (9, 9), groups=40, padding=4)
    yield Case("lanes, kernel beyond the image", 40, 40, (7, 5), (31, 31), groups=40, padding=15, batch=2)
    yield Case(
        "lanes, kernel beyond the image, stride 2", 17, 17, (9, 8), (15, 31), groups=17, stride=2, padding=15
    )
    yield Case(
        "lanes, dilation beyond the image",
        32,
        32,
        (3, 4),
        (3, 5),
        groups=32,
        padding=(7, 10),
        dilation=(7, 5),
    )
    yield Case("lanes, strides apart", 24, 24, (20, 34), (2, 1), groups=24, stride=(4, 5), batch=2)
    yield Case(
        "lanes, strides apart, dilation", 48, 48, (22, 20), (2, 2), groups=48, stride=4, dilation=2, padding=1
    )
    yield Case("a phase of more than 64", 1, 2, (3, 207), (2, 2), stride=(1, 70), dilation=(1, 66), batch=2)
    yield Case(
        "lanes, blocks of rows and columns", 20, 20, (90, 301), (7, 9), groups=20, stride=3, padding=(3, 4)
    )
    yield Case(
        "lanes, padding of four widths", 24, 24, (11, 13), groups=24, stride=3, padding=((0, 3), (4, 1))
    )
    yield Case("lanes, multiplier 3", 11, 33, (13, 13), (5, 5), groups=11, stride=3, padding=2, batch=2)
    yield Case("lanes, multiplier 20", 3, 60, (10, 9), (4, 4), groups=3, stride=3, padding=1)
    yield Case("lanes, multiplier 2, strides apart", 16, 32, (9, 9), (1, 1), groups=16, stride=3)


def _varied(cases: Iterator[Case]) -> Iterator[Case]:
    """Let bias and activation go round, so that each meets every kind of shape."""
    leaky = ("leaky_relu", 0.125)
    kinds = cycle([(True, None), (False, None), (True, "relu"), (False, leaky), (True, "relu6")])
    for case, (bias, activation) in zip(cases, kinds):
        yield replace(case, bias=bias, activation=case.activation or activation)


FAMILIES = (
    tiles,
    depths,
    points,
    kernels,
    steps,
    borders,
    batches,
    few_pixels,
    large,
    depthwise,
    depthwise_lanes,
    grouped,
)
CASES = [case for family in FAMILIES for case in _varied(family())]
