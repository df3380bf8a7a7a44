"""Any photo becomes RGB as a person sees it, then exactly the tensor that timm's and torchvision's transforms make."""

from __future__ import annotations

import functools
import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision import transforms

from resnet.errors import Refusal
from resnet.preprocess import MAX_PIXELS, MAX_SCANS, READ_FORMATS, Preprocess, image_formats, image_suffixes, open_image
from tests.pictures import PHOTOS
from tests.waiting import PATIENCE_S
from weights.load import load

Photos = Callable[..., Image.Image]
Pixels = npt.NDArray[Any]

ROOT = Path(__file__).resolve().parent.parent.parent
MEAN, STD = (0.48, 0.45, 0.40), (0.23, 0.22, 0.25)
#: Landscape, portrait, square, as large as the crop, one pixel off, upscaled, panorama, ribbon, large.
SIZES = [(300, 200), (200, 301), (224, 224), (288, 288), (257, 256), (57, 31), (8, 8), (20, 25), (1000, 40), (40, 900)]
SIZES += [(1234, 877)]


def _sentence(refusal: Refusal, name: str) -> None:
    """A refusal is one sentence about that file, in which nothing of Python shows."""
    text = str(refusal)
    assert name in text
    assert text.endswith(".") and "\n" not in text
    for leak in ("Traceback", "Error", "Exception", "object at", "None", "PIL", "{", "}"):
        assert leak not in text
    assert refusal.code.startswith("image.")


def _saved(image: Image.Image, format_: str, **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **settings)
    return stream.getvalue()


def _array(image: Image.Image) -> npt.NDArray[np.int16]:
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int16)


@functools.cache
def _flat_png(width: int, height: int, depth: int = 8, colour_type: int = 0) -> bytes:
    """A black PNG of any size, in a few kilobytes and without ever holding its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + width * depth * {0: 1, 6: 4}[colour_type] // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# -- the tensor --------------------------------------------------------------------------------------------------------


def _assert_same_pixels(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Both in units of the 0..1 range, within 1/255 on every pixel."""
    assert ours.shape == theirs.shape and ours.dtype == torch.float32 and ours.is_contiguous()
    apart = (ours - theirs).abs() * torch.tensor(STD).view(3, 1, 1)
    assert apart.max() <= 1.01 / 255


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
@pytest.mark.parametrize("size", [224, 288])
@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 0.965, 1.0])
def test_same_tensor_as_timms_evaluation(
    photo: Photos, interpolation: Any, crop_mode: Any, size: int, crop_pct: float
) -> None:
    cfg = {  # timm keeps what it trained with and what it tests with apart
        **{"input_size": (3, 160, 160), "test_input_size": (3, size, size)},
        **{"crop_pct": 0.5, "test_crop_pct": crop_pct},
        **{"interpolation": interpolation, "crop_mode": crop_mode, "mean": MEAN, "std": STD},
    }
    theirs = create_transform(**resolve_data_config({}, pretrained_cfg=cfg, use_test_size=True), is_training=False)
    ours = Preprocess(size, interpolation, crop_pct, crop_mode, MEAN, STD)
    for seed, (width, height) in enumerate(SIZES):
        image = photo(width, height, seed)
        _assert_same_pixels(ours(image), theirs(image))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (96, 100), (32, 33)])
def test_same_tensor_as_torchvisions_resize_and_crop(photo: Photos, interpolation: Any, size: int, resize: int) -> None:
    theirs = transforms.Compose(
        [
            transforms.Resize(resize, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    ours = Preprocess(size, interpolation, size / resize, "center", MEAN, STD)
    assert ours.resize == resize
    for seed, (width, height) in enumerate(SIZES):
        image = photo(width, height, seed)
        _assert_same_pixels(ours(image), theirs(image))


@pytest.mark.parametrize("shape", [(3000, 10), (10, 3001)], ids=str)
def test_a_ribbon_is_cut_before_it_is_resized(
    photo: Photos, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too long to be resized whole gives almost the same pixels, and takes no more memory than others."""
    image = photo(*shape)
    theirs = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(image)
    apart = np.abs(_array(Preprocess().crop(image)) - _array(theirs))
    assert apart.max() <= 2 and apart.mean() < 0.5
    sliver = Image.new("RGB", (8, 1_000_000), (10, 200, 30)).transpose(
        Image.Transpose.ROTATE_90 if shape[0] > shape[1] else Image.Transpose.ROTATE_180
    )
    sides: list[int] = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *a, **n: sides.extend(size) or resize(self, size, *a, **n)
    )
    assert (Preprocess().pixels(sliver) == (10, 200, 30)).all()
    assert sides and max(sides) < 3000


def test_what_a_config_wants_resized_is_cut_first(photo: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crop of 1,024 pixels out of 16,384 is a sixteenth of the photo, and costs no more than any crop."""
    image, preprocess = photo(640, 480), Preprocess(1024, "bicubic", 1 / 16)
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *a, **n: sizes.append(size) or resize(self, size, *a, **n)
    )
    seen = preprocess.crop(image)
    assert sizes == [(1024, 1024)] and preprocess.resize == 16_384
    middle = image.crop((305, 225, 335, 255)).resize((1024, 1024), Image.Resampling.BICUBIC)
    apart = np.abs(_array(seen) - _array(middle))
    assert np.median(apart) <= 1  # the edges see a little of what is around them


def test_the_crop_box_says_where_the_network_looks() -> None:
    """A photo that is white inside of the box and black outside shows white only, and the box touches black."""
    for crop_mode in ("center", "squash"):
        preprocess = Preprocess(64, "box", 0.5, crop_mode)
        for width, height in ((400, 256), (256, 512), (256, 256)):
            left, top, right, bottom = (round(edge) for edge in preprocess.crop_box(width, height))
            values = np.zeros((height, width, 3), np.uint8)
            values[top:bottom, left:right] = 255
            assert preprocess.pixels(Image.fromarray(values)).min() >= 254
            values[top + 2 : bottom - 2, left + 2 : right - 2] = 0
            seen = preprocess.pixels(Image.fromarray(values))
            assert min(seen[0].max(), seen[-1].max(), seen[:, 0].max(), seen[:, -1].max()) > 0


def test_normalising_a_batch_is_normalising_each(photo: Photos) -> None:
    preprocess = Preprocess(64, mean=MEAN, std=STD)
    crops = [preprocess.pixels(photo(80, 70, seed)) for seed in range(3)]
    batch = preprocess.normalize(crops)
    assert batch.shape == (3, 3, 64, 64) and batch.is_contiguous(memory_format=torch.channels_last)
    for crop, tensor in zip(crops, batch, strict=True):
        expected = transforms.Normalize(MEAN, STD)(transforms.ToTensor()(Image.fromarray(crop)))
        torch.testing.assert_close(tensor.contiguous(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"size": 31}, {"size": 1025}, {"crop_pct": 0.0}, {"crop_pct": 1.01}, {"crop_pct": float("nan")}),
        *({"mean": (0.5, 0.5)}, {"std": (0.5,)}, {"std": (0.2, 0.0, 0.2)}),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Preprocess(**wrong)


# -- any photo becomes RGB ---------------------------------------------------------------------------------------------

#: What a viewer does with the stored pixels for each value of EXIF's Orientation (EXIF 2.32, table 6).
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation_is_applied(photo: Photos, orientation: int, format_: str) -> None:
    stored = photo(40, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format_, {})
    opened = open_image(_saved(stored, format_, exif=exif, **settings))
    expected = UPRIGHT[orientation](_array(stored))
    assert _array(opened).shape == expected.shape
    assert np.abs(_array(opened) - expected).max() <= (12 if format_ == "JPEG" else 0)


def test_orientation_of_an_image_that_is_open_already(photo: Photos) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    source = Image.open(io.BytesIO(_saved(photo(40, 24), "PNG", exif=exif)))
    assert open_image(source).size == (24, 40)
    assert source.size == (40, 24), "the caller's image is left as it is"
    assert open_image(source).size == (24, 40)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pillow's own, about the block
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\x00\x00" + b"\xff" * 40,
        b"Exif\x00\x00II*\x00\xff\xff\xff\x7f",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x05\x00\x01\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00",
        b"Exif\x00\x00",
    ],
    ids=["noise", "offset outside", "cut off", "orientation 99", "a ratio with no value", "empty"],
)
def test_a_broken_exif_block_costs_only_the_orientation(photo: Photos, exif: bytes) -> None:
    stored = photo(40, 24)
    opened = open_image(_saved(stored, "JPEG", exif=exif, quality=95))
    assert opened.size == (40, 24)
    assert np.abs(_array(opened) - _array(stored)).mean() < 12


def _over_white(colour: Pixels, alpha: Pixels) -> Pixels:
    return 255 - (255 - colour.astype(np.float64)) * alpha.astype(np.float64) / 255


def _grey(width: int = 32, height: int = 16) -> npt.NDArray[np.uint8]:
    return np.arange(width * height, dtype=np.uint32).reshape(height, width).__mod__(256).astype(np.uint8)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"])
def test_grey(format_: str) -> None:
    values = np.full((16, 32), 77, np.uint8)
    opened = _array(open_image(_saved(Image.fromarray(values), format_)))
    assert np.abs(opened - 77).max() <= 1


def test_grey_keeps_every_level() -> None:
    opened = _array(open_image(_saved(Image.fromarray(_grey()), "PNG")))
    assert (opened == _grey()[..., None]).all()


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_over_white(photo: Photos, format_: str) -> None:
    alpha = _grey(32, 16)
    colour = _array(photo(32, 16))
    colour[alpha == 0] = 0  # WebP may keep anything where nothing shows
    image = Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8), "RGBA")
    opened = open_image(_saved(image, format_, **({"lossless": True, "exact": True} if format_ == "WEBP" else {})))
    assert np.abs(_array(opened) - _over_white(colour, alpha[..., None])).max() <= 1
    for source in (image, image.convert("RGBa")):
        assert np.abs(_array(open_image(source)) - _over_white(colour, alpha[..., None])).max() <= 3


def test_grey_with_alpha_is_laid_over_white() -> None:
    values = np.dstack([_grey(), _grey()[::-1]])
    image = Image.fromarray(values, "LA")
    expected = _over_white(values[..., :1], values[..., 1:])
    for source in (image, _saved(image, "PNG"), image.convert("La")):
        assert np.abs(_array(open_image(source)) - expected).max() <= 2


def _palette_image() -> tuple[Image.Image, Pixels]:
    colours = np.array([[255, 0, 0], [0, 128, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    indices = (np.arange(16 * 32) // 5 % 4).reshape(16, 32).astype(np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(colours.tobytes())
    return image, colours[indices]


@pytest.mark.parametrize("format_", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_becomes_its_colours(format_: str) -> None:
    image, expected = _palette_image()
    assert (_array(open_image(_saved(image, format_))) == expected).all()
    assert (_array(open_image(image)) == expected).all()


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_a_transparent_entry_of_a_palette_becomes_white(format_: str) -> None:
    image, expected = _palette_image()
    opened = _array(open_image(_saved(image, format_, transparency=2)))
    expected = np.where((expected == (0, 0, 255)).all(-1, keepdims=True), 255, expected)
    assert (opened == expected).all()


def test_a_palette_with_an_alpha_for_each_entry() -> None:
    image, colours = _palette_image()
    alpha = np.array([255, 128, 0, 64])[np.asarray(image)][..., None]
    opened = _array(open_image(_saved(image, "PNG", transparency=bytes([255, 128, 0, 64]))))
    assert np.abs(opened - _over_white(colours, alpha)).max() <= 1


def test_a_transparent_colour_of_an_rgb_png_becomes_white() -> None:
    values = np.zeros((16, 32, 3), np.uint8)
    values[:8] = (1, 2, 3)
    opened = _array(open_image(_saved(Image.fromarray(values), "PNG", transparency=(1, 2, 3))))
    assert (opened[:8] == 255).all() and (opened[8:] == 0).all()


@pytest.mark.parametrize("format_", ["JPEG", "TIFF"])
def test_cmyk(format_: str) -> None:
    """Inks are what is taken from white, whichever way round the file keeps them (Adobe's JPEGs invert)."""
    for inks, seen in [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ]:
        opened = _array(open_image(_saved(Image.new("CMYK", (32, 16), inks), format_)))
        assert np.abs(opened - np.array(seen)).max() <= 6


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "BMP"])
def test_one_bit(format_: str) -> None:
    values = _grey() % 3 == 0
    opened = _array(open_image(_saved(Image.fromarray(values), format_)))
    assert (opened == values[..., None] * 255).all()


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(format_: str) -> None:
    values = np.linspace(0, 65535, 32 * 16).reshape(16, 32).astype(np.uint16)
    image = Image.fromarray(values)
    assert image.mode == "I;16"
    for source in (image, _saved(image, format_)):
        opened = _array(open_image(source))
        assert np.abs(opened - (values / 257)[..., None]).max() <= 1
        assert opened.min() == 0 and opened.max() == 255


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_sixteen_are_not_dark(bits: int) -> None:
    """As microscopes and X-rays have them: white is that of their depth."""
    values = np.linspace(0, 2**bits - 1, 32 * 16).reshape(16, 32).astype(np.uint16)
    opened = _array(open_image(_saved(Image.fromarray(values), "PNG")))
    assert np.abs(opened - (values * (255 / (2**bits - 1)))[..., None]).max() <= 1


def test_sixteen_bits_of_the_other_byte_order() -> None:
    values = np.linspace(0, 65535, 32 * 16).reshape(16, 32).astype(">u2")
    image = Image.frombytes("I;16B", (32, 16), values.tobytes())
    assert np.abs(_array(open_image(image)) - (values / 257)[..., None]).max() <= 1


def test_integers_and_floats_are_scaled_by_their_range() -> None:
    ramp = np.linspace(0, 1, 32 * 16).reshape(16, 32)
    for values in (
        (ramp * 255).astype(np.int32),
        (ramp * 65535).astype(np.int32),
        (ramp * 2_000_000).astype(np.int32),
        ramp.astype(np.float32),
        (ramp * 255).astype(np.float32),
        (ramp * 4000).astype(np.float32),
    ):
        opened = _array(open_image(_saved(Image.fromarray(values), "TIFF")))
        assert np.abs(opened - (ramp * 255)[..., None]).max() <= 1.5, (values.dtype, values.max())


def test_a_pixel_that_is_no_number_spoils_no_other() -> None:
    values = np.full((16, 32), 0.5, np.float32)
    values[3, 4] = np.nan
    opened = _array(open_image(Image.fromarray(values)))
    assert (opened[3, 4] == 0).all()
    assert ((opened == 128).sum()) == (16 * 32 - 1) * 3


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX", "PA"])
def test_rarer_modes_become_rgb_too(mode: str) -> None:
    assert open_image(Image.new(mode, (32, 16))).mode == "RGB"


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_taken(format_: str) -> None:
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("red", "lime", "blue")]
    data = _saved(frames[0], format_, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.abs(_array(open_image(data)) - (255, 0, 0)).max() <= 3


def test_a_photo_of_an_iphone() -> None:
    (photo,) = (PHOTOS / "heic").glob("*.heic")
    opened = open_image(photo)
    assert opened.size == (114, 160) and opened.mode == "RGB"
    assert load("flowers").classifier("cpu").predict([photo])[0].predictions[0].label == "daisy"
    assert {".heic", ".heif"} <= image_suffixes()
    with pytest.raises(Refusal) as refused:
        open_image(photo.read_bytes()[:2000], "cut.heic")
    assert refused.value.code == "image.broken"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("given", [str, Path, bytes])
def test_formats_as_paths_and_as_bytes(photo: Photos, tmp_path: Path, format_: str, given: Any) -> None:
    image = photo(48, 32)
    path = tmp_path / f"photo.{format_.lower()}"
    path.write_bytes(_saved(image, format_))
    opened = open_image(path.read_bytes() if given is bytes else given(path))
    assert opened.size == (48, 32)
    assert np.abs(_array(opened) - _array(image)).mean() < 20
    assert image_suffixes() >= {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}


def test_the_ending_of_a_name_does_not_matter(photo: Photos, tmp_path: Path) -> None:
    path = tmp_path / "really a png.jpg"
    path.write_bytes(_saved(photo(48, 32), "PNG"))
    assert open_image(path).size == (48, 32)


def test_the_result_shares_nothing_with_the_source(photo: Photos) -> None:
    source = photo(48, 32)
    before = _array(source)
    open_image(source).paste("white", (0, 0, 48, 32))
    assert (_array(source) == before).all()


# -- what would harm, or is no photo -----------------------------------------------------------------------------------


def _jpeg(photo: Photos) -> bytes:
    return _saved(photo(300, 200), "JPEG")


BROKEN: dict[str, tuple[str, Callable[[Photos], bytes]]] = {
    "text.jpg": ("image.unknown", lambda _: b"Dear sir or madam, this is not a photo.\n" * 99),
    "empty.jpg": ("image.unknown", lambda _: b""),
    "page.png": ("image.unknown", lambda _: b"<!doctype html><title>404</title>"),
    "drawing.svg": ("image.unknown", lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "half.jpg": ("image.broken", lambda photo: _jpeg(photo)[: len(_jpeg(photo)) // 2]),
    "half.png": ("image.broken", lambda photo: _saved(photo(300, 200), "PNG")[:9000]),
    "header only.gif": ("image.broken", lambda photo: _saved(photo(300, 200), "GIF")[:1000]),
    "dot.png": ("image.small", lambda _: _saved(Image.new("RGB", (1, 1)), "PNG")),
    "line.png": ("image.small", lambda _: _saved(Image.new("RGB", (900, 7)), "PNG")),
    "figure.eps": ("image.unknown", lambda photo: _saved(photo(48, 32), "EPS")),
    "figure.jpg": ("image.unknown", lambda photo: _saved(photo(48, 32), "EPS")),
    "icon.ico": ("image.unknown", lambda photo: _saved(photo(48, 48), "ICO")),
    "bomb.png": ("image.large", lambda _: _flat_png(30_000, 30_000, depth=1)),
    "large.png": ("image.large", lambda _: _flat_png(10_000, 5_001)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_photo_is_refused_in_a_sentence(photo: Photos, tmp_path: Path, name: str) -> None:
    code, make = BROKEN[name]
    (tmp_path / name).write_bytes(make(photo))
    for source in (tmp_path / name, str(tmp_path / name)):
        with pytest.raises(Refusal) as refused:
            open_image(source)
        assert refused.value.code == code
        _sentence(refused.value, name)
        assert refused.value.__cause__ is None
    with pytest.raises(Refusal) as refused:
        open_image((tmp_path / name).read_bytes(), name="what I uploaded")
    assert refused.value.code == code
    _sentence(refused.value, "what I uploaded")


def test_a_folder_a_missing_file_and_odd_names(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "file").write_text("text")
    for source, code, name in [
        (tmp_path / "x.jpg", "image.folder", "x.jpg"),
        (tmp_path / "missing.jpg", "image.missing", "missing.jpg"),
        (tmp_path / "file" / "below.jpg", "image.missing", "below.jpg"),
        (tmp_path / ("long" * 99 + ".jpg"), "image.broken", "longlong"),
        (tmp_path / "{braces}%s.jpg", "image.missing", "braces"),
    ]:
        with pytest.raises(Refusal) as refused:
            open_image(source)
        assert refused.value.code == code
        assert name in str(refused.value) and str(refused.value).endswith(".")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(photo: Photos, tmp_path: Path) -> None:
    path = tmp_path / "secret.jpg"
    path.write_bytes(_jpeg(photo))
    path.chmod(0)
    with pytest.raises(Refusal) as refused:
        open_image(path)
    assert refused.value.code == "image.unreadable"
    _sentence(refused.value, "secret.jpg")


def test_an_image_that_turns_out_cut_off_while_it_is_read(photo: Photos) -> None:
    """pillow reads a file only when its pixels are asked for, so an open image may still be a broken one."""
    data = _jpeg(photo)
    with pytest.raises(Refusal) as refused:
        open_image(Image.open(io.BytesIO(data[: len(data) // 2])), name="my photo")
    assert refused.value.code == "image.broken"
    _sentence(refused.value, "my photo")


def test_eight_pixels_are_enough() -> None:
    assert open_image(_saved(Image.new("RGB", (8, 8), "red"), "PNG")).size == (8, 8)


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    data = _flat_png(30_000, 30_000, depth=1)
    assert len(data) < 200_000
    tracemalloc.start()
    with pytest.raises(Refusal):
        open_image(data)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def _icon_bomb() -> bytes:
    """An icon that claims 256 x 256 pixels and holds a PNG of 10,000 x 10,000, which pillow decodes on opening."""
    png = _flat_png(10_000, 10_000)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(png), 22) + png


#: Peak memory, in MB, that a photo may cost beyond what the process needs anyway; cheap ones first.
HEAVY: dict[str, tuple[int, Callable[[], bytes]]] = {
    "900 MP": (50, lambda: _flat_png(30_000, 30_000, depth=1)),
    "icon": (50, _icon_bomb),
    "progressive": (50, lambda: _saved(Image.new("L", (7200, 7000)), "JPEG", progressive=True)),
    "webp": (50, lambda: _saved(Image.new("L", (7200, 7000)), "WEBP", method=0)),
    "50.4 MP grey": (300, lambda: _saved(Image.new("L", (7200, 7000)), "JPEG")),
    "49 MP with alpha": (500, lambda: _flat_png(7000, 7000, colour_type=6)),
}
MEASURE = """
import sys
from pathlib import Path
from resnet.preprocess import open_image
from resnet.errors import Refusal

def peak():  # ru_maxrss would begin with what the process was forked from
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024

open_image(Path(sys.argv[1]))
before = peak()
for path in sys.argv[2:]:
    try:
        open_image(Path(path))
    except Refusal as refusal:
        pass
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_the_largest_photos_cost(photo: Photos, tmp_path: Path) -> None:
    (tmp_path / "light.jpg").write_bytes(_jpeg(photo))
    for name, (_, make) in HEAVY.items():
        (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-c", MEASURE, "light.jpg", *HEAVY]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    peaks = dict(zip(HEAVY, map(int, done.stdout.split()), strict=True))
    assert not {name: peak for name, peak in peaks.items() if peak > HEAVY[name][0]}
    assert peaks["49 MP with alpha"] > 200, "what is measured is not what was read"


@pytest.mark.parametrize("format_", ["JPEG", "MPO"])
def test_a_jpeg_of_more_than_50_megapixels_is_read_at_half_its_size(format_: str) -> None:
    image = Image.new("L", (9000, 6000), 30)
    image.paste(220, (4500, 0, 9000, 6000))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    more = {"save_all": True, "append_images": [Image.new("L", (64, 64))]} if format_ == "MPO" else {}
    data = _saved(image, format_, exif=exif, **more)
    assert Image.open(io.BytesIO(data)).format == format_
    opened = open_image(data)
    assert opened.size == (4500, 3000) and opened.mode == "RGB"
    assert opened.getpixel((10, 10)) == (220, 220, 220) and opened.getpixel((4490, 2990)) == (30, 30, 30)


def test_a_png_of_just_50_megapixels_is_read() -> None:
    assert open_image(_flat_png(10_000, 5000)).size == (10_000, 5000)
    assert MAX_PIXELS == 50_000_000


def test_large_photos_are_read_from_several_threads() -> None:
    """They take turns, and the one that is refused in the middle leaves the way free."""
    large, broken = _flat_png(4000, 3100), _flat_png(4000, 3200)[:-9000]
    outcomes: list[str] = []

    def read(data: bytes) -> None:
        try:
            outcomes.append(str(open_image(data).size))
        except Refusal as refusal:
            outcomes.append(refusal.code)

    threads = [threading.Thread(target=read, args=(data,)) for data in (large, broken, large, broken, large)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(outcomes) == ["(4000, 3100)"] * 3 + ["image.broken"] * 2


def test_a_device_is_not_read() -> None:
    for path in (Path("/dev/zero"), "/dev/ptmx"):
        with pytest.raises(Refusal) as refused:
            open_image(path)
        assert refused.value.code == "image.device"


def test_only_formats_of_cameras_phones_and_the_web_are_opened(photo: Photos) -> None:
    assert {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000"} <= set(image_formats()) <= set(READ_FORMATS)
    assert (
        not {".eps", ".ps", ".ico", ".h5", ".hdf", ".mpg", ".mpeg", ".pdf", ".txt", ".ppm", ".dds"} & image_suffixes()
    )
    for format_ in ("PPM", "TGA", "PCX", "DDS", "SGI", "ICO"):
        with pytest.raises(Refusal) as refused:
            open_image(_saved(photo(48, 32), format_), "old.bin")
        assert refused.value.code == "image.unknown"


def test_a_jpeg_with_more_scans_than_any_camera_writes_is_not_decoded(photo: Photos) -> None:
    """Each scan is a walk over the whole image, and takes ten bytes."""
    data = _saved(photo(48, 32), "JPEG", progressive=True)
    assert open_image(data).size == (48, 32)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    many = data[:-2] + scan * MAX_SCANS + data[-2:]
    assert len(many) < 30_000
    with pytest.raises(Refusal) as refused:
        open_image(many, "slow.jpg")
    assert refused.value.code == "image.slow" and "slow.jpg" in str(refused.value)


def test_run_lengths_of_bmp_are_read_while_they_are_few() -> None:
    """pillow decodes them in Python."""

    def packed(side: int) -> bytes:
        rows = (
            b"".join(bytes((255, 1)) * (side // 255) + bytes((side % 255, 1)) + b"\0\0" for _ in range(side)) + b"\0\1"
        )
        palette = b"\0\0\0\0" + b"\0\0\xff\0" * 255
        header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(rows), 0, 0, 54 + 1024) + header + palette + rows

    assert open_image(packed(300)).getpixel((5, 5)) == (255, 0, 0)
    with pytest.raises(Refusal) as refused:
        open_image(packed(3000))
    assert refused.value.code == "image.slow"


def test_an_eps_inside_of_another_format_is_not_run(photo: Photos) -> None:
    """IPTC hands what it holds to pillow's whole list of formats, Ghostscript's included."""

    def tag(record: int, dataset: int, data: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, record, dataset, len(data)) + data

    inside = _saved(photo(48, 32), "EPS")[:30_000]
    size = struct.pack(">H", 48), struct.pack(">H", 32)
    data = tag(3, 60, b"\x01\x00") + tag(3, 20, size[0]) + tag(3, 30, size[1]) + tag(3, 120, b"\x05")
    data += tag(8, 10, inside)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "IPTC", "else the test tests nothing"
    with pytest.raises(Refusal) as refused:
        open_image(data, "news.jpg")
    assert refused.value.code == "image.unknown"
