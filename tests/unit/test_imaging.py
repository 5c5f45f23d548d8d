"""What people upload: good, odd, damaged and hostile files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from shared.errors import Invalid
from shared.imaging import FORMATS, decode, decode_cost, inspect, render_for_browser, to_pixels


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_name, **options)
    return out.getvalue()


def two_tone(width: int = 40, height: int = 20, mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue: whatever turns or mirrors it can be seen."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2] = (255, 0, 0)
    pixels[:, width // 2 :] = (0, 0, 255)
    return Image.fromarray(pixels).convert(mode)


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that claims a size, with next to nothing behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def is_red(pixel: object) -> bool:
    red, green, blue = np.asarray(pixel, dtype=int)
    return bool(red > 200 and green < 60 and blue < 60)


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_allowed_format_tells_its_size_and_decodes_to_rgb(format_name: str) -> None:
    data = encoded(two_tone(), format_name)
    info = inspect(data)
    assert (info.width, info.height, info.format) == (40, 20, format_name)
    image = decode(data)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert is_red(image.getpixel((5, 10)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is a text file", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not an image"),
        (encoded(two_tone(), "PPM"), "not one of JPEG, PNG, WEBP, GIF, BMP, TIFF"),
        (encoded(two_tone(), "ICO"), "not an image"),
        (b"%PDF-1.7", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
    ],
)
def test_what_is_no_allowed_image_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        inspect(data)
    with pytest.raises(Invalid, match=reason):
        decode(data)


@pytest.mark.parametrize("read", [inspect, decode, render_for_browser])
def test_too_many_pixels_are_refused_from_the_header(read: object) -> None:
    with pytest.raises(Invalid, match="10000 x 10000 = 100 megapixels; the limit is 50"):
        read(png_header(10_000, 10_000), max_pixels=50_000_000)  # type: ignore[operator]


def test_a_size_far_beyond_pillows_own_limit_gets_the_same_answer() -> None:
    with pytest.raises(Invalid, match="100000 x 100000 = 1e\\+04 megapixels"):
        inspect(png_header(100_000, 100_000))


def test_an_image_of_exactly_the_limit_is_accepted() -> None:
    assert inspect(encoded(two_tone(40, 20), "PNG"), max_pixels=800).width == 40
    with pytest.raises(Invalid, match="the limit is"):
        inspect(encoded(two_tone(40, 20), "PNG"), max_pixels=799)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_ends_too_early_is_refused(format_name: str, share: float) -> None:
    data = encoded(noise(), format_name)
    with pytest.raises(Invalid):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("format_name", FORMATS)
def test_damaged_bytes_give_an_image_or_invalid_and_nothing_else(format_name: str) -> None:
    rng = np.random.default_rng(1)
    whole = np.frombuffer(encoded(noise(), format_name), dtype=np.uint8)
    for _ in range(150):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 8)] = rng.integers(0, 256, 8)
        try:
            decode(damaged.tobytes(), max_pixels=100_000)
        except Invalid as error:
            assert str(error)


@pytest.mark.parametrize(("format_name", "orientation"), [("JPEG", 6), ("PNG", 6), ("WEBP", 8), ("TIFF", 6)])
def test_an_exif_rotated_image_comes_out_upright(format_name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(two_tone(40, 20), format_name, exif=exif)
    info = inspect(data)
    assert (info.width, info.height) == (20, 40)
    image = decode(data)
    assert image.size == (20, 40)
    red_end = (10, 5) if orientation == 6 else (10, 35)
    assert is_red(image.getpixel(red_end))


def test_a_cmyk_jpeg_becomes_rgb_and_is_rendered_for_browsers() -> None:
    data = encoded(two_tone(mode="CMYK"), "JPEG", quality=95)
    assert not inspect(data).browser_safe
    assert is_red(decode(data).getpixel((5, 10)))
    rendered, content_type = render_for_browser(data)
    assert content_type == "image/png"
    assert inspect(rendered).browser_safe
    assert is_red(decode(rendered).getpixel((5, 10)))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bit_values_are_scaled_and_not_clipped(format_name: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    data = encoded(Image.fromarray(ramp), format_name)
    assert not inspect(data).browser_safe
    grey = np.asarray(decode(data))[..., 0]
    assert np.array_equal(grey.ravel(), np.arange(256))


def test_32_bit_values_are_spread_over_8_bits() -> None:
    values = np.array([[-1000, 0], [500, 1000]], dtype=np.int32)
    grey = np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[..., 0]
    assert grey.tolist() == [[0, 128], [191, 255]]


def test_floating_values_are_spread_over_8_bits_even_when_all_are_equal() -> None:
    assert np.asarray(decode(encoded(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF"))).max() == 0
    wide = np.array([[0.0, 0.5], [1.0, np.nan]], dtype=np.float32)
    assert np.asarray(decode(encoded(Image.fromarray(wide), "TIFF")))[..., 0].tolist() == [[0, 128], [255, 0]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_over_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), (0,) * len(mode))
    assert decode(encoded(image, "PNG")).getpixel((1, 1)) == (255, 255, 255)


def test_a_palette_keeps_its_colours_and_its_transparency() -> None:
    palette = two_tone().quantize(4)
    assert is_red(decode(encoded(palette, "PNG")).getpixel((5, 10)))
    transparent = encoded(palette, "PNG", transparency=palette.getpixel((5, 10)))
    assert decode(transparent).getpixel((5, 10)) == (255, 255, 255)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(format_name: str) -> None:
    frames = [Image.new("RGB", (8, 8), "blue")]
    data = encoded(Image.new("RGB", (8, 8), "red"), format_name, save_all=True, append_images=frames)
    assert is_red(decode(data).getpixel((4, 4)))


def test_a_photo_with_a_second_picture_inside_is_a_jpeg() -> None:
    data = encoded(two_tone(), "MPO", save_all=True, append_images=[two_tone()])
    info = inspect(data)
    assert (info.format, info.browser_safe) == ("JPEG", True)


def test_a_tiff_is_rendered_and_a_large_one_as_jpeg() -> None:
    data = encoded(two_tone(1000, 600), "TIFF")
    assert not inspect(data).browser_safe
    rendered, content_type = render_for_browser(data)
    assert content_type == "image/jpeg"
    assert inspect(rendered).width == 1000


def test_pixels_are_the_whole_image_squashed_to_the_square() -> None:
    pixels = to_pixels(encoded(two_tone(100, 20), "PNG"), size=10, channels=3)
    assert (pixels.shape, pixels.dtype) == ((10, 10, 3), np.uint8)
    assert (pixels[:, :4] == (255, 0, 0)).all()
    assert (pixels[:, 6:] == (0, 0, 255)).all()


def test_one_channel_is_the_luminance() -> None:
    pixels = to_pixels(encoded(two_tone(), "PNG"), size=8, channels=1)
    assert pixels.shape == (8, 8, 1)
    assert (int(pixels[0, 0, 0]), int(pixels[0, 7, 0])) == (76, 29)


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = to_pixels(encoded(Image.fromarray(stripes), "PNG"), size=8, channels=1)
    assert np.abs(pixels.astype(int) - 127).max() <= 8


def test_decoding_is_costed_by_pixels_and_more_for_wide_values() -> None:
    plain = inspect(encoded(two_tone(40, 20), "PNG"))
    wide = inspect(encoded(Image.fromarray(np.zeros((20, 40), np.uint16)), "PNG"))
    assert decode_cost(plain) == 40 * 20 * 24
    assert decode_cost(wide) > decode_cost(plain)
