"""Uploaded image files: what they are, and their pixels. Pillow is met here and nowhere else.

Files come from anybody, so nothing is decoded before its header was read and its size found bearable, only formats on
``FORMATS`` are tried at all, and whatever a decoder raises on damaged bytes comes out as ``Invalid`` with a sentence
for the person who sent the file. ``to_pixels`` is the one preprocessing of the whole system: what a model was trained
on and what it is asked about go through the same lines.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from shared.errors import Invalid

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
_SHOWN_BY_BROWSERS = {
    "JPEG": {"L", "RGB"},
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA"},
    "WEBP": {"RGB", "RGBA"},
    "GIF": {"1", "L", "P", "RGB", "RGBA"},
    "BMP": {"1", "L", "P", "RGB"},
}
_LOSSLESS_PIXELS = 512 * 512
_EXIF_TURNS_SIDEWAYS = {5, 6, 7, 8}
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    ZeroDivisionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on bytes that are not what they claim."""

# Pillow's own limit would speak first, and only warn up to twice its value. Ours is exact and checked on every path.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class ImageInfo:
    """What a file's header says. ``width`` and ``height`` are those of the upright image, after EXIF rotation.

    ``browser_safe``: a browser shows the file itself as it should look; otherwise it needs ``render_for_browser``.
    ``mode`` is Pillow's name for the layout of its pixels.
    """

    width: int
    height: int
    format: str
    browser_safe: bool
    mode: str


def inspect(data: bytes, *, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Read the header and decode nothing. Raises ``Invalid`` for what is no image, not allowed, or too large."""
    with _opened(data, max_pixels) as image:
        width, height = image.size
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        # Pillow gives the upright size of a TIFF itself, and of nothing else.
        if orientation in _EXIF_TURNS_SIDEWAYS and image.format != "TIFF":
            width, height = height, width
        # Phones write JPEGs with a second picture inside, which Pillow names MPO; they are JPEGs to everybody else.
        name = "JPEG" if image.format == "MPO" else str(image.format)
        # Browsers turn JPEGs upright; for other formats they don't agree.
        upright = orientation == 1 or name == "JPEG"
        return ImageInfo(width, height, name, upright and image.mode in _SHOWN_BY_BROWSERS.get(name, ()), image.mode)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The image as a person should see it: upright, RGB, 8 bits a channel, first frame, over white.

    Raises ``Invalid``, also for a file that ends too early.
    """
    with _opened(data, max_pixels) as image:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


def to_pixels(data: bytes, *, size: int, channels: int, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """The pixels that a model sees, uint8 (size, size, channels).

    The whole image is squashed to the square by antialiased bilinear interpolation, so that nothing of it is cut
    off. With one channel it is the luminance (ITU-R 601-2). Raises ``Invalid``.
    """
    image = decode(data, max_pixels=max_pixels)
    if channels == 1:
        image = image.convert("L")
    pixels = np.array(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.uint8)
    return pixels.reshape(size, size, channels)


def render_for_browser(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[bytes, str]:
    """A file that every browser can show in place of one that it can't, and its content type.

    PNG where it is small enough to be worth keeping every pixel, else JPEG. Raises ``Invalid``.
    """
    image = decode(data, max_pixels=max_pixels)
    lossless = image.width * image.height <= _LOSSLESS_PIXELS
    out = io.BytesIO()
    if lossless:
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=90)
    return out.getvalue(), "image/png" if lossless else "image/jpeg"


def thumbnail(data: bytes, *, side: int, max_pixels: int = MAX_PIXELS) -> bytes:
    """A JPEG of the image as a person should see it, no side longer than ``side``. Raises ``Invalid``."""
    with _opened(data, max_pixels) as image:
        image.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded no larger than it takes
        image.load()
        small = _to_rgb(ImageOps.exif_transpose(image))
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=82)
    return out.getvalue()


def decode_cost(info: ImageInfo) -> int:
    """Bytes that ``decode`` takes at most besides the file, for a budget of what may be decoded at the same time.

    The decoded pixels and their upright copy take up to 4 bytes each, laying them over white up to four images of 4
    bytes; 16-bit and floating values pass through float64 arrays.
    """
    wide = 40 if info.mode.startswith(("I", "F")) else 0
    return info.width * info.height * (2 * 4 + 4 * 4 + wide)


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The lazily opened image; turns whatever its decoder raises in the block into ``Invalid``."""
    if not data:
        raise Invalid("the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            yield image
    except UnidentifiedImageError:
        raise Invalid(f"the file is not an image, or not one of {', '.join(FORMATS)}") from None
    except _DECODER_ERRORS as error:
        raise Invalid(f"the image is damaged or cut off: {str(error) or type(error).__name__}") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise Invalid(f"the image has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise Invalid(f"{width} x {height} = {_mega(width * height)} megapixels; the limit is {_mega(max_pixels)}")


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:.3g}"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled_to_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        over = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(over, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit values by their top 8 bits; other wide values (32-bit, floating) from their lowest to their highest."""
    values: npt.NDArray[Any] = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((values / 257 + 0.5).astype(np.uint8))
    wide = np.nan_to_num(values.astype(np.float64))
    if image.mode == "I" and wide.min() >= 0 and wide.max() <= 65535:
        return Image.fromarray((wide / 257 + 0.5).astype(np.uint8))
    low, span = wide.min(), np.ptp(wide)
    return Image.fromarray(((wide - low) * (255 / span if span else 0) + 0.5).astype(np.uint8))
