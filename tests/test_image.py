import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from fer.image import MAX_PIXELS, ImageDecodeError, load_image

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.png"


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned_as(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def png_header(width, height):
    def chunk(name, data):
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


@pytest.fixture
def astronaut():
    with Image.open(ASTRONAUT) as image:
        return image.convert("RGB")


@pytest.fixture
def corners():
    """Four colours, so that every turn and mirror image differs."""
    array = np.zeros((40, 60, 3), np.uint8)
    array[:20, :30], array[:20, 30:], array[20:, :30] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return Image.fromarray(array)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_lossless_files_come_back_exactly(astronaut, form):
    loaded = load_image(encode(astronaut, form))
    assert loaded.dtype == np.uint8
    assert np.array_equal(loaded, np.asarray(astronaut))


@pytest.mark.parametrize("height", [1, 63, 64, 65, 300])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_pictures_of_any_height_come_back_exactly(height, mode):
    shape = {"RGB": (height, 37, 3), "RGBA": (height, 37, 4), "L": (height, 37)}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if mode == "RGBA":
        pixels[..., 3] = 255
    loaded = load_image(encode(Image.fromarray(pixels), "PNG"))
    assert np.array_equal(loaded, np.asarray(Image.fromarray(pixels).convert("RGB")))


def test_a_pil_picture_given_is_not_changed(corners):
    turned = Image.open(io.BytesIO(encode(corners, "PNG", exif=turned_as(6))))
    before = np.asarray(turned).copy()
    assert load_image(turned).shape == (60, 40, 3)
    assert np.array_equal(np.asarray(turned), before)
    assert turned.getexif()[ExifTags.Base.Orientation] == 6


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "MPO"])
def test_lossy_files_come_back_nearly(astronaut, form):
    loaded = load_image(encode(astronaut, form, quality=90))
    assert loaded.shape == (512, 512, 3)
    assert np.abs(loaded - np.asarray(astronaut, np.float32)).mean() < 4


def test_path_string_bytes_pil_and_array_give_the_same_picture(astronaut):
    expected = np.asarray(astronaut)
    for source in (ASTRONAUT, str(ASTRONAUT), ASTRONAUT.read_bytes(), astronaut, expected):
        assert np.array_equal(load_image(source), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_gives_the_same_upright_picture(corners, orientation, form):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners.transpose(undo[orientation]) if orientation > 1 else corners
    loaded = load_image(encode(stored, form, exif=turned_as(orientation)))
    assert loaded.shape == (40, 60, 3)
    difference = np.abs(loaded - np.asarray(corners, np.float32))
    assert difference.mean() < 10


def test_a_cmyk_jpeg_keeps_its_colours(corners):
    loaded = load_image(encode(corners.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(loaded - np.asarray(corners, np.float32)).mean() < 10


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    loaded = load_image(encode(Image.fromarray(values), form))
    assert loaded.tolist() == [[[0] * 3, [1] * 3, [128] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_per_channel_is_refused_not_clipped(mode):
    with pytest.raises(ImageDecodeError, match="8 or 16 bits"):
        load_image(encode(Image.new(mode, (4, 4), 70000), "TIFF"))


def test_transparent_pictures_lie_on_white():
    half_red = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    nothing = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert load_image(encode(half_red, "PNG"))[0, 0].tolist() == [255, 127, 127]
    assert load_image(encode(nothing, "PNG"))[0, 0].tolist() == [255, 255, 255]
    assert load_image(np.asarray(nothing))[0, 0].tolist() == [255, 255, 255]
    grey = Image.new("LA", (8, 8), (0, 0))
    assert load_image(encode(grey, "PNG"))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_colour_becomes_white(form):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 4, 8))
    loaded = load_image(encode(image, form, transparency=0))
    assert loaded[0, 0].tolist() == [255, 255, 255]
    assert loaded[0, 7].tolist() == [0, 0, 255]


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(animated)[4, 4].tolist() == [255, 0, 0]


def test_grey_and_bilevel_get_three_equal_channels(astronaut):
    for mode in ("L", "1"):
        loaded = load_image(encode(astronaut.convert(mode), "PNG"))
        assert loaded.shape == (512, 512, 3)
        assert np.array_equal(loaded[..., 0], loaded[..., 2])
    assert load_image(np.full((5, 7), 9, np.uint8)).tolist() == [[[9] * 3] * 7] * 5


def test_one_pixel_is_a_picture():
    assert load_image(encode(Image.new("RGB", (1, 1), "red"), "PNG")).tolist() == [[[255, 0, 0]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"Dear diary, this is no photo.\n" * 40, "not a picture"),
        (b"\xff\xd8\xff\xe0", "not a picture"),
        (png_header(30_000, 30_000), r"30000 x 30000 pixels are too many.*100 million"),
    ],
    ids=["zero bytes", "text", "four bytes of JPEG", "huge header"],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageDecodeError, match=message) as caught:
        load_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageDecodeError, match=message):
        load_image(content)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_a_truncated_file_is_never_a_half_grey_picture(astronaut, form):
    content = encode(astronaut, form)
    for keep in (0.3, 0.6, 0.95):
        with pytest.raises(ImageDecodeError, match=r"damaged or incomplete|not a picture"):
            load_image(content[: int(len(content) * keep)])


def test_a_jpeg_short_of_its_last_bytes_is_refused(astronaut):
    with pytest.raises(ImageDecodeError, match="damaged or incomplete"):
        load_image(encode(astronaut, "JPEG")[:-2])


def test_the_size_limit_is_exact_and_comes_without_a_warning():
    with pytest.raises(ImageDecodeError, match="damaged or incomplete"):
        load_image(png_header(10_000, MAX_PIXELS // 10_000))
    with pytest.raises(ImageDecodeError, match="too many"):
        load_image(png_header(10_000, MAX_PIXELS // 10_000 + 1))


def test_random_damage_gives_a_picture_or_one_clear_line(astronaut):
    rng = np.random.default_rng(0)
    small = astronaut.resize((32, 32))
    outcomes = set()
    for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        content = np.frombuffer(encode(small, form), np.uint8)
        for _ in range(40):
            damaged = content.copy()
            damaged[rng.integers(0, min(len(content), 200), 4)] = rng.integers(0, 256, 4)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert load_image(damaged.tobytes()).dtype == np.uint8
                outcomes.add("picture")
            except ImageDecodeError as error:
                outcomes.add(f"{len(str(error).splitlines())} line")
    assert outcomes == {"picture", "1 line"}


def test_missing_file_directory_and_impossible_name_say_so(tmp_path):
    with pytest.raises(ImageDecodeError, match=r"gone\.jpg: cannot be opened: No such file"):
        load_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageDecodeError, match="cannot be opened"):
        load_image(tmp_path)
    with pytest.raises(ImageDecodeError, match="cannot be opened"):
        load_image("a\0b.jpg")


def test_a_file_without_permission_says_so(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(ASTRONAUT.read_bytes())

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageDecodeError, match=r"secret\.png: cannot be opened: Permission denied"):
        load_image(path)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.full((8, 8, 3), np.nan), r"float64 of shape \(8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8, 3), np.int64), "int64"),
        (np.zeros((8, 8), bool), "bool"),
        (np.zeros(8, np.uint8), r"uint8 of shape \(8,\)"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"uint8 of shape \(1, 8, 8, 3\)"),
        (np.zeros((8, 8, 2), np.uint8), r"uint8 of shape \(8, 8, 2\)"),
        (np.zeros((0, 8, 3), np.uint8), r"\(0, 8, 3\)"),
        (np.zeros((8, 0), np.uint8), r"\(8, 0\)"),
    ],
    ids=["NaN", "float", "int", "bool", "vector", "batch", "two channels", "no rows", "no columns"],
)
def test_an_array_that_is_no_picture_is_named_as_received(array, received):
    with pytest.raises(ImageDecodeError, match=received):
        load_image(array)


@pytest.mark.parametrize("source", [None, 3, ["photo.jpg"]])
def test_something_else_entirely_is_named_as_received(source):
    with pytest.raises(ImageDecodeError, match=f"received {type(source).__name__}"):
        load_image(source)


def test_a_flipped_array_view_is_read_in_its_own_order():
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(load_image(array[:, ::-1]), array[:, ::-1])
    assert load_image(array[:, ::-1]).flags.c_contiguous


def test_reading_changes_neither_the_given_image_nor_pillow(corners):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encode(corners, "JPEG", exif=exif))) as image:
        limit = Image.MAX_IMAGE_PIXELS
        assert load_image(image).shape == (60, 40, 3)
        assert image.size == (60, 40)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_many_threads_read_the_same_picture(astronaut):
    content, results = encode(astronaut, "PNG"), []
    threads = [
        threading.Thread(target=lambda: results.append(load_image(content))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, np.asarray(astronaut)) for result in results)
