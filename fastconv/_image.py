"""Photographs in and out through Pillow, and the labelled contact sheet: for `fastconv filter` alone.

A photograph of any mode becomes an array that fastconv.filters takes, with its alpha channel set aside; the
result goes back to the nearest mode that the output format holds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

Array = np.ndarray[Any, Any]

SHEET_SIDE = 480
SHEET_GAP = 12
SHEET_TEXT = 20


class ImageProblem(Exception):
    """A file that cannot be read or written; the text is one line for the user."""


@dataclass(frozen=True)
class Photo:
    """Pixels HxW or HxWx3 of uint8, uint16, int32 or float32; alpha HxW of uint8 or None."""

    pixels: Array
    alpha: Array | None = None
    profile: bytes | None = None

    def apply(self, change: Callable[[Array], Array]) -> Photo:
        """Filter the pixels; integers wider than uint8 go through float64 and are rounded and limited."""
        if self.pixels.dtype in (np.uint8, np.float32):
            return replace(self, pixels=change(self.pixels))
        limits = np.iinfo(self.pixels.dtype)
        changed = np.clip(np.rint(change(self.pixels.astype(np.float64))), limits.min, limits.max)
        return replace(self, pixels=changed.astype(self.pixels.dtype))

    def describe(self) -> str:
        """Width, height, channels and type."""
        height, width = self.pixels.shape[:2]
        kind = ("RGB" if self.pixels.ndim == 3 else "L") + ("A" if self.alpha is not None else "")
        return f"{width}x{height} {kind} {self.pixels.dtype}"


def load(path: Path) -> Photo:
    """Read the first picture of a file, turned as its EXIF orientation says.

    Raises
    ------
    ImageProblem
        Missing, unreadable, not an image, damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read()
    except OSError as error:
        raise ImageProblem(f"cannot read {path}: {error.strerror or error}") from error
    greatest = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = None  # the file is the user's own: any size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data)) as opened:
                opened.load()
                turned = ImageOps.exif_transpose(opened)
                return _photo(turned)
    except UnidentifiedImageError as error:
        raise ImageProblem(f"{path} is not an image that Pillow can read") from error
    except MemoryError as error:
        raise ImageProblem(f"{path} is too large for this machine's memory") from error
    except Exception as error:  # damaged files make Pillow's decoders raise exceptions of many kinds
        raise ImageProblem(f"{path} is damaged or truncated: {_one_line(error)}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = greatest


def _photo(image: Image.Image) -> Photo:
    profile = image.info.get("icc_profile")
    transparent = "transparency" in image.info
    mode = image.mode
    if mode.startswith("I;16"):
        return Photo(np.array(image).astype(np.uint16), profile=profile)
    if mode == "I":
        deep = np.array(image).astype(np.int32)
        fits = deep.min() >= 0 and deep.max() <= 0xFFFF
        return Photo(deep.astype(np.uint16) if fits else deep, profile=profile)
    if mode == "F":
        return Photo(np.array(image), profile=profile)
    if mode in ("1", "L", "LA", "La"):
        wanted = "LA" if transparent or mode in ("LA", "La") else "L"
    else:
        wanted = "RGBA" if transparent or mode in ("RGBA", "RGBa", "PA") else "RGB"
    if mode not in ("L", "LA", "RGB", "RGBA", "P", "PA"):
        profile = None  # it describes channels that are gone
    pixels = np.array(image if mode == wanted else image.convert(wanted))
    if wanted == "L" or wanted == "RGB":
        return Photo(pixels, profile=profile)
    colour = pixels[..., 0] if wanted == "LA" else pixels[..., :3]
    return Photo(np.ascontiguousarray(colour), pixels[..., -1].copy(), profile)


def save(photo: Photo, path: Path) -> str | None:
    """Write in the format that the file's name ends with; return what the format could not hold, or None.

    Nothing is written unless the whole picture could be encoded.

    Raises
    ------
    ImageProblem
        Unknown format, or the file cannot be written.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ImageProblem(
            f"cannot write {path}: Pillow writes no format {path.suffix or 'without an extension'!r}"
        )
    data, lost = _encode(photo, path, kind)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ImageProblem(f"cannot write {path}: {error.strerror or error}") from error
    return lost


def _encode(photo: Photo, path: Path, kind: str) -> tuple[bytes, str | None]:
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    if photo.profile:
        options["icc_profile"] = photo.profile
    reasons = []
    for image, lost in _forms(photo):
        buffer = BytesIO()
        try:
            image.save(buffer, format=kind, **options)
        except Exception as error:  # each format refuses modes in its own way
            reasons.append(_one_line(error))
        else:
            return buffer.getvalue(), lost and f"{kind} {lost}"
    raise ImageProblem(f"cannot write {path}: {reasons[0]}")


def _forms(photo: Photo) -> list[tuple[Image.Image, str | None]]:
    """As it is first, then what simpler formats can hold."""
    whole = _image(photo)
    forms: list[tuple[Image.Image, str | None]] = [(whole, None)]
    if photo.alpha is not None:
        white = Image.new("RGBA", whole.size, "white")
        flat = Image.alpha_composite(white, whole.convert("RGBA"))
        forms.append(
            (flat.convert("RGB" if photo.pixels.ndim == 3 else "L"), "holds no alpha: written over white")
        )
    elif photo.pixels.dtype != np.uint8:
        scale = 1 / 257 if photo.pixels.dtype == np.uint16 else 1
        small = np.clip(np.rint(photo.pixels * scale), 0, 255).astype(np.uint8)
        forms.append((Image.fromarray(small), "holds no such depth: written with 8 bits"))
    elif photo.pixels.ndim == 2:
        forms.append((whole.convert("RGB"), None))
    return forms


def _image(photo: Photo) -> Image.Image:
    image = Image.fromarray(photo.pixels)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def shrink(photo: Photo) -> Photo:
    """Reduce to 8 bits and to the size of a tile of a contact sheet."""
    image = _forms(photo)[-1][0].convert("RGB")
    image.thumbnail((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS)
    return Photo(np.array(image))


def contact_sheet(tiles: Sequence[tuple[str, Photo]]) -> Photo:
    """Lay pictures of one size in rows of up to four, each with its label below."""
    across = min(4, len(tiles))
    down = -(-len(tiles) // across)
    height, width = tiles[0][1].pixels.shape[:2]
    font = ImageFont.load_default(SHEET_TEXT)
    cell = (max(width, SHEET_SIDE // 2) + SHEET_GAP, height + SHEET_GAP + 2 * SHEET_TEXT)
    sheet = Image.new("RGB", (across * cell[0] + SHEET_GAP, down * cell[1] + SHEET_GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (label, photo) in enumerate(tiles):
        left = SHEET_GAP + place % across * cell[0]
        top = SHEET_GAP + place // across * cell[1]
        sheet.paste(_image(photo), (left, top))
        draw.text((left, top + height + SHEET_TEXT // 4), label, fill="black", font=font)
    return Photo(np.array(sheet))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
