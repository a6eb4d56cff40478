"""`onnxgpu demo`: a small trained network reads handwritten digits it has never seen.

`digits.onnx` was trained by `examples/train_digits.py`; `digits.npz` holds the 360 images of scikit-learn's digits that
were kept out of the training.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from onnxgpu.explain import explanation
from onnxgpu.explain.text import print_explanation
from onnxgpu.options import SessionOptions
from onnxgpu.provider_override import Requested
from onnxgpu.session import InferenceSession

if TYPE_CHECKING:
    from rich.console import Console

FOLDER = Path(__file__).parent
SHOWN = 6
TIMED_RUNS = 20
LEAST_ACCURACY = 0.97
SHADES = " ░▒▓█"


def run_demo(console: Console, *, loopback: bool = False) -> int:
    """Predict the held-out digits and show how the model was run.

    Args:
        console: where to print.
        loopback: place every operator on the pretend device that can run there, so that transfers are real.

    Returns:
        0, or 1 if the accuracy is lower than the trained model's.
    """
    from onnxgpu.discovery import providers

    options = SessionOptions()
    chosen: list[Requested] | None = None
    if loopback:
        options.add_session_config_entry("onnxgpu.placement", "mode=listed")
        chosen = [("LoopbackExecutionProvider", {"fraction": 0.5, "seed": 1}), "CPUExecutionProvider"]
    session = InferenceSession(FOLDER / "digits.onnx", options, providers=chosen)
    with np.load(FOLDER / "digits.npz") as data:
        images, labels = data["images"], data["labels"]
    feeds = {"images": images.astype(np.float32)[:, None]}
    (scores,) = session.run(None, feeds)
    predictions = scores.argmax(axis=1)
    _show_digits(console, images, predictions, labels)
    soft_wrap, console.soft_wrap = console.soft_wrap, False
    missing = ((name, provider.unavailable()) for name, provider in providers().items())
    unavailable = [{"provider": name, "cause": cause} for name, cause in missing if cause is not None]
    print_explanation(console, explanation(session) | {"unavailable": unavailable})
    console.soft_wrap = soft_wrap
    console.print(
        f"latency: {_latency(session, images[:1]) * 1e3:.3f} ms for one image, {_latency(session, images) * 1e3:.1f} ms for {len(images)}"
    )
    accuracy = float((predictions == labels).mean())
    console.print(f"accuracy: {accuracy:.4f} on {len(labels)} held-out images")
    return 0 if accuracy >= LEAST_ACCURACY else 1


def _latency(session: InferenceSession, images: np.ndarray) -> float:
    """Median seconds of a run."""
    feeds = {"images": images.astype(np.float32)[:, None]}
    seconds = []
    for _ in range(TIMED_RUNS):
        start = perf_counter()
        session.run(None, feeds)
        seconds.append(perf_counter() - start)
    return median(seconds[2:])


def _show_digits(console: Console, images: np.ndarray, predictions: np.ndarray, labels: np.ndarray) -> None:
    """A few images as text, what the network says and what is true; then every mistake."""
    for row in range(images.shape[1]):
        console.print("   ".join("".join(2 * SHADES[min(int(v) // 4, 4)] for v in images[i, row]) for i in range(SHOWN)), markup=False)
    captions = (f"predicted {predictions[i]}, true {labels[i]}" for i in range(SHOWN))
    console.print("   ".join(f"{caption:<{2 * images.shape[2]}}" for caption in captions))
    wrong = np.flatnonzero(predictions != labels)
    mistakes = ", ".join(f"image {i}: predicted {predictions[i]}, true {labels[i]}" for i in wrong) or "none"
    console.print(f"mistakes: {mistakes}")
