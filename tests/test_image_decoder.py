"""ImageDecoder: every format and pixel format, unusual images, and what cannot be decoded."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import onnx.parser
import pytest

import onnxgpu
from onnxgpu.errors import NotImplemented
from onnxgpu.provider import Claim, Operation, Refusal, ValueInfo
from onnxgpu.providers.array_ops import image_decoder
from onnxgpu.providers.cpu.provider import CPUProvider

Image = pytest.importorskip("PIL.Image")

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype="u1")
LOSSLESS = ("BMP", "JPEG2000", "TIFF", "PNG", "WEBP", "PPM")


def encoded(image: Any, form: str, **options: Any) -> np.ndarray:
    stream = BytesIO()
    image.save(stream, format=form, **options)
    return np.frombuffer(stream.getvalue(), np.uint8)


def claim(**attributes: Any) -> Claim | Refusal:
    return CPUProvider().claim(
        Operation("ImageDecoder", (ValueInfo("x", np.dtype("u1"), (None,)),), (ValueInfo("y"),), "", 20, "", attributes)
    )


def decoded(data: np.ndarray, **attributes: Any) -> np.ndarray:
    answer = claim(**attributes)
    assert isinstance(answer, Claim)
    (pixels,) = answer.build().launch([data], None, None)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    return np.asarray(pixels)


@pytest.mark.parametrize("form", LOSSLESS)
def test_pixel_formats(form: str) -> None:
    data = encoded(Image.fromarray(PIXELS), form, **({"lossless": True} if form == "WEBP" else {}))
    np.testing.assert_array_equal(decoded(data), PIXELS)
    np.testing.assert_array_equal(decoded(data, pixel_format="BGR"), PIXELS[..., ::-1])
    grey = (PIXELS @ np.array([0.299, 0.587, 0.114])).round()
    np.testing.assert_allclose(decoded(data, pixel_format="Grayscale")[..., 0], grey, atol=1)


def test_jpeg_is_close() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 32, dtype="u1")[:, None, None], (32, 32, 3))
    np.testing.assert_allclose(decoded(encoded(Image.fromarray(smooth.copy()), "JPEG", quality=95)), smooth, atol=6)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_every_image_has_three_channels_or_one(form: str, mode: str) -> None:
    if (form, mode) == ("PNG", "CMYK"):
        pytest.skip("PNG has no CMYK")
    image = Image.fromarray(PIXELS).convert(mode)
    np.testing.assert_array_equal(decoded(encoded(image, form)), np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(decoded(encoded(image, form), pixel_format="Grayscale")[..., 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_the_higher_byte(form: str) -> None:
    grey = Image.fromarray(PIXELS[..., 0].astype("u2") << 8 | 7)
    np.testing.assert_array_equal(decoded(encoded(grey, form), pixel_format="Grayscale")[..., 0], PIXELS[..., 0])


@pytest.mark.parametrize(("pixel_format", "channels"), [("RGB", 3), ("BGR", 3), ("Grayscale", 1)])
def test_what_cannot_be_decoded_is_empty(pixel_format: str, channels: int) -> None:
    whole = encoded(Image.fromarray(PIXELS), "PNG")
    for data in (np.zeros(0, np.uint8), np.arange(99, dtype=np.uint8), whole[:60], encoded(Image.fromarray(PIXELS), "GIF")):
        assert decoded(data, pixel_format=pixel_format).shape == (0, 0, channels)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = claim(pixel_format="YUV")
    assert isinstance(answer, Refusal) and "knows the pixel formats RGB, BGR, Grayscale, not 'YUV'" in answer.reason
    monkeypatch.setattr(image_decoder, "find_spec", lambda name: None)
    monkeypatch.setenv("ONNXGPU_PROVIDERS_DISABLED", "reference")
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 20]> g (uint8[n] x) => (uint8[h,w,3] y) { y = ImageDecoder (x) }')
    with pytest.raises(NotImplemented, match="needs Pillow: pip install onnxgpu\\[image\\]"):
        onnxgpu.InferenceSession(model, providers=["CPUExecutionProvider"])
