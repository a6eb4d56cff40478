"""ImageDecoder: the bytes of an image file to pixels, by Pillow (the extra `image`), on the host."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np

from onnxgpu.errors import RuntimeException
from onnxgpu.provider import Array, Operation
from onnxgpu.providers.array_ops.registry import operator

FORMATS = ("BMP", "JPEG", "JPEG2000", "TIFF", "PNG", "WEBP", "PPM")
"""Pillow's names of the formats of the specification; PPM stands for all of Portable image format."""

_MODES = {"RGB": "RGB", "BGR": "RGB", "Grayscale": "L"}


def _unusable(operation: Operation) -> str | None:
    pixel_format = operation.attributes.get("pixel_format", "RGB")
    if pixel_format not in _MODES:
        return f"knows the pixel formats {', '.join(_MODES)}, not {pixel_format!r}"
    return None if find_spec("PIL") else "needs Pillow: pip install onnxgpu[image]"


def _eight_bits(image: Any) -> Any:
    """Grey images of 16 bits by their higher bytes, as Pillow reads coloured ones."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 0xFFFF) >> 8).astype(np.uint8))


def _pixels(encoded: bytes, mode: str) -> np.ndarray | None:
    """The first image in `encoded`, uint8 (height, width, channels); None if it cannot be decoded.

    Raises:
        RuntimeException: Pillow was built without the library that decodes this format.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(encoded), formats=FORMATS) as image:
            pixels = np.asarray(_eight_bits(image).convert(mode))
    except Exception as problem:
        if "not available" in str(problem):
            raise RuntimeException(f"ImageDecoder: this installation of Pillow cannot read the image: {problem}") from problem
        return None
    return pixels.reshape(*pixels.shape[:2], -1)


@operator("ImageDecoder", since=20, types=frozenset({"uint8"}), host=("encoded",), when=_unusable)
def image_decoder(xp: Any, encoded: Array, *, pixel_format: str = "RGB") -> Array:
    """The pixels of an encoded image, uint8 (height, width, channels); (0, 0, channels) if it cannot be decoded.

    Transparency is left out, palettes are looked up, and of several images the first is taken. Formats: BMP, JPEG (with
    smooth chroma upsampling, libjpeg's default), JPEG2000, TIFF, PNG, WebP, PBM, PGM, PPM.
    Spec: https://onnx.ai/onnx/operators/onnx__ImageDecoder.html
    """
    mode = _MODES[pixel_format]
    pixels = _pixels(np.asarray(encoded).tobytes(), mode)
    if pixels is None:
        pixels = np.empty((0, 0, len(mode)), np.uint8)
    return xp.asarray(np.ascontiguousarray(pixels[..., ::-1] if pixel_format == "BGR" else pixels))
