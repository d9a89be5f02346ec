"""The command line: what it prints and writes, and one line with exit code 2 for whatever is wrong."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import cli, filters

Image: Any = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
KERNELS: dict[str, Callable[[Any], np.ndarray]] = {
    "sobel": filters.sobel,
    "sharpen": filters.sharpen,
    "edges": filters.edges,
    "emboss": filters.emboss,
    "box_blur": lambda x: filters.box_blur(x, 5),
    "gaussian_blur": lambda x: filters.gaussian_blur(x, 2.0),
}


@pytest.fixture(scope="module")
def photo() -> Path:
    """The colour photograph that scikit-image ships."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image has the photograph")
    return Path(spec.origin).parent / "data" / "chelsea.png"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, stdout, stderr."""

    def command(*arguments: Any) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def assert_refused(result: tuple[int, str, str], *words: str) -> None:
    """One line on stderr with these words, exit code 2, nothing on stdout."""
    code, out, err = result
    err = err.lstrip("\n")  # where a progress bar was
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err.startswith("fastconv")
    for word in words:
        assert word in err


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.array(file)


# --- info, explain -----------------------------------------------------------------------------------


def test_info_names_machine_and_build(run: Callable[..., Any]) -> None:
    code, out, err = run("info")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (code, err) == (0, "")
    assert lines["fastconv"] == fastconv.__version__
    assert lines["isa"].split()[0] in re.findall(r"\w+", lines["isa"].split("available:")[1])
    wide = re.escape("multiply-adds a cycle (FASTCONV_WIDE_FMAS corrects)")
    assert "512 bits" not in out or re.search(rf"^512 bits  [12] {wide}$", out, re.MULTILINE)
    assert ("512 bits" in out) == lines["isa"].startswith("avx512")
    assert re.fullmatch(r"L1 [\d.]+ KiB, L2 .*iB, L3 .*iB", lines["caches"])
    assert int(lines["threads"].split()[0]) == fastconv.get_num_threads()
    assert lines["numpy"] == np.__version__
    assert {"cpu", "compiler", "python", "system"} <= lines.keys()


def test_explain_a_named_layer(run: Callable[..., Any]) -> None:
    code, out, _ = run("explain", "resnet50.layer1.0.conv2", "--batch", 2)
    weight = np.zeros((64, 64, 3, 3), np.float32)
    assert code == 0
    assert out == fastconv.plan_conv2d((2, 64, 56, 56), weight, padding=1).explain() + "\n"


def test_explain_shapes(run: Callable[..., Any]) -> None:
    code, out, _ = run(
        "explain", "--input", "1x8x9x12", "--weight", "8,4,3,2", "--stride", "2,1", "--padding", "1,0",
        "--dilation", "2", "--groups", "3", "--layout", "NHWC", "--dtype", "float64",
    )  # fmt: skip
    assert code == 2  # 8 output channels are no three groups
    assert out == ""
    options: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "dilation": 2, "groups": 2}
    code, out, _ = run(
        "explain", "--input", "1x8x9x8", "--weight", "8,4,3,2", "--stride", "2,1", "--padding", "1,0",
        "--dilation", "2", "--groups", "2", "--layout", "NHWC", "--dtype", "float64",
    )  # fmt: skip
    assert code == 0
    weight = np.zeros((8, 4, 3, 2))
    assert out == fastconv.plan_conv2d((1, 8, 9, 8), weight, layout="NHWC", **options).explain() + "\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["the name of a layer", "--input and --weight"]),
        (["--input", "1x3x8x8"], ["--input and --weight"]),
        (["nosuch.layer"], ["unknown layer 'nosuch.layer'", "--list"]),
        (["--input", "1x3x8x8", "--weight", "4x2x3x3"], ["weight"]),
        (["--input", "1x3x8x8", "--weight", "4x3x3x3", "--padding", "nowhere"], ["padding"]),
        (["--input", "1x3x8x8", "--weight", "4x3x3x3", "--algorithm", "magic"], ["algorithm"]),
        (["--input", "1xax8", "--weight", "4x3x3x3"], ["--input"]),
        (["--input", "1x3x8x8", "--weight", "99999999x99999999x3x3"], []),
    ],
)
def test_explain_refuses(run: Callable[..., Any], arguments: list[str], words: list[str]) -> None:
    assert_refused(run("explain", *arguments), "fastconv explain: ", *words)


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["info", "--nonsense"], ["filter"], ["bench", "--rounds", "0"]]
)
def test_wrong_arguments_are_one_line(run: Callable[..., Any], arguments: list[str]) -> None:
    assert_refused(run(*arguments))


def test_version(run: Callable[..., Any]) -> None:
    assert run("--version") == (0, f"fastconv {fastconv.__version__}\n", "")


def test_the_installed_command_returns_the_exit_code(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "fastconv.cli",
        "filter",
        "missing.jpg",
        "--kernel",
        "sobel",
        "-o",
        "x.png",
    ]
    environment = dict(os.environ, PYTHONPATH=str(Path(fastconv.__file__).parents[1]))
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert_refused(
        (done.returncode, done.stdout, done.stderr), "cannot read missing.jpg: No such file or directory"
    )


# --- filter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_on_the_photograph(
    run: Callable[..., Any], photo: Path, tmp_path: Path, kernel: str
) -> None:
    code, out, err = run("filter", photo, "--kernel", kernel, "-o", tmp_path / "out.png")
    assert (code, err) == (0, "")
    assert "451x300 RGB uint8" in out
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), KERNELS[kernel](pixels(photo)))


def test_kernel_options(run: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert (
        run("filter", photo, "--kernel", "box_blur", "--size", 9, "--padding-mode", "wrap", "-o", out)[0] == 0
    )
    np.testing.assert_array_equal(pixels(out), filters.box_blur(pixels(photo), 9, "wrap"))
    assert run("filter", photo, "--kernel", "gaussian_blur", "--sigma", 0.7, "-o", out)[0] == 0
    np.testing.assert_array_equal(pixels(out), filters.gaussian_blur(pixels(photo), 0.7))


def test_contact_sheet_shows_every_kernel(run: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    assert run("filter", photo, "--kernel", "all", "-o", tmp_path / "sheet.png")[0] == 0
    sheet = pixels(tmp_path / "sheet.png")
    original = pixels(photo)
    height, width = original.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (1, 24))[:, :, 0]
    for name, function in {"original": lambda x: x, **KERNELS}.items():
        tile = function(original)
        rows, columns = np.nonzero((windows == tile[150, 200:224, 0]).all(-1))
        assert len(rows) == 1, name
        top, left = rows[0] - 150, columns[0] - 200
        np.testing.assert_array_equal(sheet[top : top + height, left : left + width], tile)
        label = sheet[top + height : top + height + 30, left : left + width]
        assert (label < 128).any(), f"no label below {name}"


def test_contact_sheet_of_a_large_photograph_is_small(run: Callable[..., Any], tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500), "teal").save(tmp_path / "large.png")
    assert run("filter", tmp_path / "large.png", "--kernel", "all", "-o", tmp_path / "sheet.png")[0] == 0
    height, width = pixels(tmp_path / "sheet.png").shape[:2]
    assert 480 < height < 1000
    assert 4 * 480 < width < 2100


def colours(mode: str) -> Any:
    """Make a small picture with a gradient in every channel of a mode."""
    ramp = np.add.outer(np.arange(12) * 9, np.arange(10) * 11).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1], 255 - ramp // 2], -1))
    if mode in ("LA", "RGBA", "La", "RGBa"):
        return image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    return image.convert("RGB").convert(mode)


@pytest.mark.parametrize(
    ("mode", "becomes", "suffix"),
    [
        ("1", "L", "png"),
        ("L", "L", "png"),
        ("LA", "LA", "png"),
        ("RGB", "RGB", "png"),
        ("RGBA", "RGBA", "png"),
        ("P", "RGB", "png"),
        ("CMYK", "RGB", "jpg"),
        ("YCbCr", "RGB", "jpg"),
        ("CMYK", "RGB", "tif"),
    ],
)
def test_colour_modes(run: Callable[..., Any], tmp_path: Path, mode: str, becomes: str, suffix: str) -> None:
    source, out = tmp_path / f"in.{suffix}", tmp_path / "out.png"
    colours(mode).save(source)
    assert run("filter", source, "--kernel", "sharpen", "-o", out)[0] == 0
    with Image.open(source) as file:
        converted = np.array(file.convert(becomes))
    with Image.open(out) as file:
        assert file.mode == becomes
        got = np.array(file)
    if becomes.endswith("A"):
        np.testing.assert_array_equal(got[..., -1], converted[..., -1])
        converted, got = converted[..., :-1], got[..., :-1]
    np.testing.assert_array_equal(got.squeeze(), filters.sharpen(converted.squeeze()))


def test_palette_with_a_transparent_entry_keeps_alpha(run: Callable[..., Any], tmp_path: Path) -> None:
    palette = colours("P")
    palette.save(tmp_path / "in.png", transparency=palette.getpixel((3, 3)))
    assert run("filter", tmp_path / "in.png", "--kernel", "box_blur", "-o", tmp_path / "out.png")[0] == 0
    with Image.open(tmp_path / "in.png") as file:
        alpha = np.array(file.convert("RGBA"))[..., 3]
    assert set(np.unique(alpha)) == {0, 255}
    np.testing.assert_array_equal(pixels(tmp_path / "out.png")[..., 3], alpha)


def test_sixteen_bits_stay_sixteen(run: Callable[..., Any], tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "in.png")
    for name, function in {"sharpen": filters.sharpen, "box_blur": lambda x: filters.box_blur(x, 5)}.items():
        assert run("filter", tmp_path / "in.png", "--kernel", name, "-o", tmp_path / "out.png")[0] == 0
        got = pixels(tmp_path / "out.png")
        exact = np.clip(np.rint(function(deep.astype(np.float64))), 0, 65535)
        assert got.max() > 255
        np.testing.assert_array_equal(got, exact)


def test_sixteen_bits_become_eight_where_the_format_has_no_more(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    Image.fromarray(np.full((16, 16), 200 * 257, np.uint16)).save(tmp_path / "in.png")
    code, _, err = run("filter", tmp_path / "in.png", "--kernel", "box_blur", "-o", tmp_path / "out.jpg")
    assert code == 0
    assert "8 bits" in err
    np.testing.assert_array_equal(pixels(tmp_path / "out.jpg"), np.full((16, 16), 200))


def test_float_images(run: Callable[..., Any], tmp_path: Path) -> None:
    real = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    Image.fromarray(real).save(tmp_path / "in.tif")
    assert run("filter", tmp_path / "in.tif", "--kernel", "edges", "-o", tmp_path / "out.tif")[0] == 0
    np.testing.assert_array_equal(pixels(tmp_path / "out.tif"), filters.edges(real))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(run: Callable[..., Any], tmp_path: Path, orientation: int) -> None:
    upright = colours("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.save(tmp_path / "in.png", exif=exif)
    assert (
        run("filter", tmp_path / "in.png", "--kernel", "box_blur", "--size", 1, "-o", tmp_path / "out.png")[0]
        == 0
    )
    flips: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), flips[orientation](np.array(upright)))
    with Image.open(tmp_path / "out.png") as file:
        assert file.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "jpg", "webp", "gif", "ppm"])
def test_output_formats(run: Callable[..., Any], photo: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    code, _, err = run("filter", photo, "--kernel", "gaussian_blur", "-o", out)
    assert (code, err) == (0, "")
    with Image.open(out) as file:
        got = np.array(file.convert("RGB")).astype(float)
    blurred = filters.gaussian_blur(pixels(photo), 2.0)
    assert got.shape == blurred.shape
    assert abs(got - blurred).mean() < (12 if suffix == "gif" else 2 if suffix in ("jpg", "webp") else 1e-9)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_format_without_alpha_gets_white(run: Callable[..., Any], tmp_path: Path, mode: str) -> None:
    clear = Image.new(mode, (16, 16), (0,) * len(mode))
    clear.save(tmp_path / "in.png")
    code, _, err = run("filter", tmp_path / "in.png", "--kernel", "box_blur", "-o", tmp_path / "out.jpg")
    assert code == 0
    assert err == "fastconv filter: note: JPEG holds no alpha: written over white\n"
    assert (pixels(tmp_path / "out.jpg") == 255).all()


def test_colour_profile_is_kept(run: Callable[..., Any], tmp_path: Path) -> None:
    colours("RGB").save(tmp_path / "in.png", icc_profile=b"profile")
    assert run("filter", tmp_path / "in.png", "--kernel", "sobel", "-o", tmp_path / "out.jpg")[0] == 0
    with Image.open(tmp_path / "out.jpg") as file:
        assert file.info["icc_profile"] == b"profile"


def damaged(kind: str, photo: Path, folder: Path) -> Path:
    """A file that cannot be read as an image."""
    path = folder / f"in.{'png' if 'png' in kind else 'jpg'}"
    if kind == "a folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("This is no image.\n" * 100)
    elif kind == "truncated png":
        path.write_bytes(photo.read_bytes()[:100_000])
    elif kind == "png header only":
        path.write_bytes(photo.read_bytes()[:40])
    elif kind == "wrong size in png":
        data = bytearray(photo.read_bytes())
        data[16:24] = struct.pack(">II", 0, 0)
        path.write_bytes(data)
    elif kind == "truncated jpg":
        with Image.open(photo) as file:
            file.save(path)
        path.write_bytes(path.read_bytes()[:5000])
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "No such file or directory"),
        ("a folder", "cannot read"),
        ("empty", "is not an image"),
        ("text", "is not an image"),
        ("truncated png", "is damaged or truncated"),
        ("png header only", ""),
        ("wrong size in png", ""),
        ("truncated jpg", "is damaged or truncated"),
    ],
)
@pytest.mark.parametrize("kernel", ["sobel", "all"])
def test_what_is_no_image(
    run: Callable[..., Any], photo: Path, tmp_path: Path, kind: str, words: str, kernel: str
) -> None:
    path = damaged(kind, photo, tmp_path)
    out = tmp_path / "out.png"
    assert_refused(run("filter", path, "--kernel", kernel, "-o", out), "fastconv filter: ", str(path), words)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/such/folder/out.png", "No such file or directory"),
        ("out.xyz", "Pillow writes no format '.xyz'"),
        ("out", "without an extension"),
        ("folder.png", "cannot write"),
    ],
)
def test_what_cannot_be_written(
    run: Callable[..., Any], photo: Path, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    assert_refused(run("filter", photo, "--kernel", "sobel", "-o", tmp_path / name), "cannot write", words)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_write_protected_folder(run: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert_refused(run("filter", photo, "--kernel", "sobel", "-o", tmp_path / "out.png"), "Permission denied")


def test_existing_output_survives_a_failure(run: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"precious")
    assert_refused(run("filter", damaged("truncated png", photo, tmp_path), "--kernel", "sobel", "-o", out))
    assert out.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kernel", "laplace"], ["unknown kernel 'laplace'", "sobel, sharpen, edges"]),
        (["--kernel", "gaussian_blur", "--sigma", "-1"], ["sigma"]),
        (["--kernel", "gaussian_blur", "--sigma", "wide"], ["--sigma"]),
        (["--kernel", "box_blur", "--size", "0"], ["--size"]),
        (["--kernel", "sobel", "--padding-mode", "nearby"], ["padding_mode", "nearby"]),
    ],
)
def test_wrong_filter_options(
    run: Callable[..., Any], photo: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    assert_refused(run("filter", photo, *arguments, "-o", tmp_path / "out.png"), *words)
    assert not (tmp_path / "out.png").exists()


def test_without_pillow_the_extra_is_named(
    run: Callable[..., Any], photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "fastconv._image", raising=False)
    monkeypatch.delattr(fastconv, "_image", raising=False)
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = run("filter", photo, "--kernel", "sobel", "-o", tmp_path / "out.png")
    assert_refused(result, "filter needs Pillow: pip install 'fastconv[image]'")


# --- bench -------------------------------------------------------------------------------------------

SMALL = ["bench", "--networks", "mobilenetv2", "--filter", r"block15\.depthwise", "--rounds", "2"]


def test_bench_lists_layers(run: Callable[..., Any]) -> None:
    code, out, _ = run("bench", "--networks", "vgg16", "--list")
    assert code == 0
    assert len(out.splitlines()) == 9
    assert out.splitlines()[0].split()[:3] == ["vgg16.conv1_1", "3x3", "3->64"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--filter", "("], ["--filter is no regular expression"]),
        (["--filter", "nothing at all"], ["no layer matches"]),
        (["--networks", "lenet"], ["unknown name 'lenet'", "resnet50"]),
        (["--peers", "caffe"], ["unknown name 'caffe'", "onnxruntime"]),
        (["--batch", "0"], ["--batch must be at least 1"]),
        (["--batch", "two"], ["--batch"]),
        (["--operator", "backward"], ["unknown name 'backward'", "weight_grad"]),
        (["--threads", "0"], ["--threads must be at least 1"]),
        (["--seconds", "0"], ["--seconds", "above 0"]),
        (["--sample", "0"], ["--sample", "at least 1"]),
        (["--layout", "CHWN"], ["unknown name 'CHWN'", "NHWC"]),
        (["--threads", "100000", "--peers", ""], ["threads must be at most"]),
        (["--dtype", "float16"], ["--dtype"]),
        (["--algorithm", "magic", "--peers", ""], ["no layer can be computed", "magic"]),
        (["--json", "no/such/folder/x.json"], ["cannot write no/such/folder/x.json: there is no folder"]),
        (["--plot", "x.xyz"], ["cannot draw x.xyz", ".png"]),
        (["--plot", "no/such/folder/x.png"], ["there is no folder"]),
    ],
)
def test_bench_refuses(run: Callable[..., Any], arguments: list[str], words: list[str]) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    assert_refused(run(*SMALL, *arguments), "fastconv bench: ", *words)


@pytest.mark.parametrize(("module", "options"), [("rich", []), ("matplotlib", ["--plot", "x.png"])])
def test_bench_names_the_extra_that_is_missing(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, module: str, options: list[str]
) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    for name in list(sys.modules):
        if name in ("fastconv.bench.report", "fastconv.bench.plot") or name.split(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    for name in ("report", "plot"):
        monkeypatch.delattr(f"fastconv.bench.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    assert_refused(run(*SMALL, *options), "pip install 'fastconv[bench]'")


def test_bench_measures_and_writes(run: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    pytest.importorskip("scipy", reason="SciPy is the peer measured beside")
    files = {name: tmp_path / f"bench.{name}" for name in ("json", "md", "png")}
    code, out, _ = run(
        *SMALL, "--peers", "scipy", "--batch", "1,2", "--json", files["json"], "--markdown", files["md"],
        "--plot", files["png"],
    )  # fmt: skip
    assert code == 0
    assert "agrees with that of scipy" in out
    assert "dw 3x3 960 7x7" in out
    assert "2 x dw 3x3 960 7x7" in out
    report = json.loads(files["json"].read_text())
    assert [row["layer"]["batch"] for row in report["rows"]] == [1, 2]
    for row in report["rows"]:
        ours, peer = row["contenders"]["plan"], row["contenders"]["scipy"]
        assert row["layer"]["flops"] == 2 * 9 * 960 * 49 * row["layer"]["batch"]
        assert 0 < ours["min_seconds"] <= ours["median_seconds"]
        assert row["plan/best"] == pytest.approx(peer["min_seconds"] / ours["min_seconds"])
        assert ours["flops_per_second"] == pytest.approx(row["layer"]["flops"] / ours["min_seconds"])
        if row["peak_flops"]:
            assert ours["share_of_peak"] == pytest.approx(ours["flops_per_second"] / row["peak_flops"])
    assert files["md"].read_text().count("\n| mobilenetv2 ") == 3  # two rows and one of the summary
    assert Image.open(files["png"]).size[0] > 500


def test_bench_of_all_takes_shapes_once_and_says_what_it_leaves_out(run: Callable[..., Any]) -> None:
    code, out, err = run("bench", "--all", "--list", "--threads", "1")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == len(set(lines)) > 500
    assert any(line.startswith("deeplabv3.aspp.rate24") for line in lines)
    assert "left out" in err
    assert len(run("bench", "--all", "--sample", "20", "--list")[1].splitlines()) <= 20


@pytest.mark.parametrize(
    "operator", ["input_grad", "weight_grad", "bias_grad", "pool", "pool_indices", "pool_grad"]
)
def test_bench_measures_every_operator(run: Callable[..., Any], operator: str) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    wanted = ["--networks", "tiny", "--filter", "lenet", "--operator", operator, "--layout", "NCHW,NHWC"]
    code, out, _ = run("bench", *wanted, "--rounds", "1", "--seconds", "0.01", "--peers", "torch")
    assert code == 0
    assert f"{operator}, 1 thread, NHWC:" in out or "No peer is installed" in out


def test_bench_writes_json_to_stdout_alone(run: Callable[..., Any]) -> None:
    pytest.importorskip("rich", reason="rich is not installed")
    code, out, err = run(*SMALL, "--peers", "", "--json", "-")
    assert code == 0
    assert json.loads(out)["rows"][0]["best_peer"] is None
    assert "No peer is installed" in err
