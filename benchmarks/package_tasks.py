"""What packages.py has each package do, in a process of its own, with inputs made here.

`python package_tasks.py PACKAGE --module onnxgpu --out FILE` puts the module in the place of onnxruntime (`as_onnxruntime`), runs
the package and writes what it answers as JSON; with `--cuda`, CUDA is first in every session, and where the nodes of each session are
is written too. The file is run inside the packages' own virtual environment.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from benchmarks.on_cuda import PROVIDERS, whereabouts

SPEECH_RATE = 16000
MUSIC_RATE = 22050

Answer = dict[str, Any]


def magika() -> Answer:
    """Kinds of content of a few snippets of text and bytes."""
    from magika import Magika

    pixels = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).tobytes()
    contents = {
        "python": b"import os\n\n\ndef main(path):\n    for name in os.listdir(path):\n        print(name)\n\n\nmain('.')\n" * 3,
        "json": json.dumps({"values": list(range(50)), "name": "sample", "nested": {"a": [1, 2, {"b": None}]}}, indent=1).encode(),
        "html": b"<!DOCTYPE html>\n<html><head><title>A page</title></head><body><p>Some words</p><a href='x'>y</a></body></html>",
        "ppm": b"P6 64 64 255\n" + pixels,
        "csv": b"name,size,price\n" + b"".join(b"item%d,%d,%d.5\n" % (i, i * 3, i) for i in range(60)),
    }
    detector = Magika()
    results = {name: detector.identify_bytes(content) for name, content in contents.items()}
    return {"labels": {n: str(r.output.label) for n, r in results.items()}, "scores": {n: float(r.score) for n, r in results.items()}}


def nudenet() -> Answer:
    """Detections in a drawn figure, and the network's own output for it."""
    from nudenet import NudeDetector

    detector = NudeDetector()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        _draw_figure(path)
        found = detector.detect(str(path))
    generator = np.random.default_rng(0)
    smooth = generator.random((1, 3, 10, 10), np.float32).repeat(32, axis=2).repeat(32, axis=3)
    raw = detector.onnx_session.run(None, {detector.input_name: smooth})[0]
    return {
        "classes": [d["class"] for d in found],
        "scores": [d["score"] for d in found],
        "boxes": [d["box"] for d in found],
        "raw": raw.tolist(),
    }


def basic_pitch() -> Answer:
    """Notes of a generated melody."""
    from basic_pitch.inference import ICASSP_2022_MODEL_PATH, Model, predict

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "melody.wav"
        _write_wave(path, _melody(), MUSIC_RATE)
        output, _, notes = predict(path, Model(ICASSP_2022_MODEL_PATH))
    ordered = sorted(notes, key=lambda note: (note[0], note[2]))
    return {
        "pitches": [int(note[2]) for note in ordered],
        "times": [[float(note[0]), float(note[1])] for note in ordered],
        "note": output["note"].tolist(),
        "onset": output["onset"].tolist(),
    }


def rapidocr() -> Answer:
    """Lines of text in a drawn page."""
    from rapidocr_onnxruntime import RapidOCR

    lines, _ = RapidOCR()(_draw_text())
    return {
        "text": [line[1] for line in lines or []],
        "scores": [float(line[2]) for line in lines or []],
        "boxes": [[[float(x), float(y)] for x, y in line[0]] for line in lines or []],
    }


def faster_whisper() -> Answer:
    """Speech probability of each frame of a voice-like sound between two stretches of noise."""
    from faster_whisper.vad import get_speech_timestamps, get_vad_model

    audio = _voice()
    probabilities = get_vad_model()(audio)
    return {"probabilities": np.asarray(probabilities).tolist(), "speech": get_speech_timestamps(audio)}


def silero_vad() -> Answer:
    """Speech probabilities of the streaming and of the sequence model, and the stretches of speech of both."""
    import torch
    from silero_vad import get_speech_timestamps, get_speech_timestamps_sequence, load_silero_vad

    audio = _voice()
    streaming, sequence = load_silero_vad(onnx=True), load_silero_vad(sequence=True)
    return {
        "probabilities": streaming.audio_forward(torch.from_numpy(audio), SPEECH_RATE).tolist(),
        "speech": get_speech_timestamps(torch.from_numpy(audio), streaming, threshold=0.2),
        "sequence": sequence.audio_forward(audio).tolist(),
        "sequence_speech": get_speech_timestamps_sequence(audio, sequence, threshold=0.2),
    }


def openwakeword() -> Answer:
    """Scores of every wake word for each frame of a voice-like sound, with the voice detector in front."""
    from openwakeword import Model

    model = Model(vad_threshold=1e-6)
    samples = (_voice() * 32767).astype(np.int16)
    frames = [model.predict(samples[start : start + 1280]) for start in range(0, samples.size - 1279, 1280)]
    names = sorted(frames[0])
    return {"names": names, "scores": [[float(frame[name]) for name in names] for frame in frames]}


def ddddocr() -> Answer:
    """Text of drawn words with the two recognisers, and the boxes of the detector."""
    from ddddocr import DdddOcr

    word, page = _png(_draw_word("benchmark 42")), _png(_draw_text()[:, :, ::-1])
    detector = DdddOcr(ocr=False, det=True, show_ad=False)
    return {
        "text": DdddOcr(show_ad=False).classification(word),
        "old_text": DdddOcr(old=True, show_ad=False).classification(word),
        "boxes": sorted(detector.detection(page)),
    }


def text2tashkeel() -> Answer:
    """Vowel marks of Arabic sentences, by every bundled model."""
    from text2tashkeel import BUNDLED, Diacritizer

    sentences = ("السلام عليكم ورحمة الله وبركاته", "ذهب الولد إلى المدرسة في الصباح", "العلم نور والجهل ظلام")
    return {name: [Diacritizer(name)(sentence) for sentence in sentences] for name in sorted(BUNDLED)}


def luscinia() -> Answer:
    """Stressed vowels of Ukrainian words."""
    from luscinia import LusciniaPredictor

    words = ["університет", "виходити", "мама", "тато", "комп'ютер", "програмування", "залізниця", "переписувати"]
    predictor = LusciniaPredictor()
    return {
        "batch": predictor.predict_batch(words),
        "nouns": [predictor.predict(word, "NOUN") for word in words],
        "about": {name: value for name, value in predictor.model_info.items() if value is not None},
    }


TASKS: dict[str, Callable[[], Answer]] = {
    "magika": magika,
    "nudenet": nudenet,
    "basic-pitch": basic_pitch,
    "rapidocr-onnxruntime": rapidocr,
    "faster-whisper": faster_whisper,
    "silero-vad": silero_vad,
    "openwakeword": openwakeword,
    "ddddocr": ddddocr,
    "text2tashkeel": text2tashkeel,
    "luscinia": luscinia,
}


def _draw_figure(path: Path) -> None:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (480, 360), (90, 140, 190))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 280, 480, 360), fill=(80, 110, 60))
    skin = (224, 172, 135)
    draw.ellipse((190, 30, 290, 150), fill=skin)
    for x in (220, 260):
        draw.ellipse((x - 8, 75, x + 8, 87), fill="white")
        draw.ellipse((x - 4, 77, x + 4, 85), fill=(40, 30, 20))
    draw.arc((215, 95, 265, 130), 20, 160, fill=(150, 40, 40), width=5)
    draw.pieslice((185, 20, 295, 110), 180, 360, fill=(70, 45, 25))
    draw.rectangle((225, 145, 255, 175), fill=skin)
    draw.rounded_rectangle((160, 170, 320, 330), 30, fill=skin)
    image.save(path)


def _draw_text() -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (640, 320), "white")
    draw = ImageDraw.Draw(image)
    for number, text in enumerate(("Hello benchmark world", "Invoice 2048: total 137.50", "The quick brown fox jumps")):
        draw.text((40, 40 + 90 * number), text, fill="black", font=ImageFont.load_default(size=36 - 4 * number))
    return np.asarray(image)[:, :, ::-1].copy()


def _draw_word(text: str) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (320, 64), "white")
    ImageDraw.Draw(image).text((20, 10), text, fill="black", font=ImageFont.load_default(size=36))
    return np.asarray(image)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


def _melody() -> np.ndarray:
    time_axis = np.arange(int(0.5 * MUSIC_RATE)) / MUSIC_RATE
    envelope = np.minimum(1, time_axis / 0.01) * np.exp(-3 * time_axis)
    notes = []
    for pitch in (60, 64, 67, 72, 67, 64):
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        notes.append(envelope * sum(np.sin(2 * np.pi * frequency * k * time_axis) / k for k in (1, 2, 3, 4)))
    return (0.4 * np.concatenate(notes)).astype(np.float32)


def _voice() -> np.ndarray:
    """Four seconds: noise, a vowel-like sound (a gliding pulse train through moving resonances), noise."""
    generator = np.random.default_rng(0)
    count = 125 * 512
    noise = 0.003 * generator.standard_normal(count)
    time_axis = np.arange(count) / SPEECH_RATE
    pitch = 120 + 25 * np.sin(2 * np.pi * 1.3 * time_axis)
    pulses = np.diff(np.floor(np.cumsum(pitch) / SPEECH_RATE), prepend=0.0)
    source = pulses + 0.01 * generator.standard_normal(count)
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * time_axis) + 0.4, 0, 1)
    active = (time_axis > 1) & (time_axis < 3)
    sound = _resonate(_resonate(_resonate(source, 600, 90), 1300, 110), 2600, 160)
    sound *= syllables * active / np.abs(sound).max()
    return (0.5 * sound + noise).astype(np.float32)


def _resonate(signal: np.ndarray, frequency: float, bandwidth: float) -> np.ndarray:
    """`signal` through one resonance: convolved with a damped oscillation, both in hertz."""
    time_axis = np.arange(int(0.06 * SPEECH_RATE)) / SPEECH_RATE
    response = np.exp(-np.pi * bandwidth * time_axis) * np.sin(2 * np.pi * frequency * time_axis)
    return np.convolve(signal, response)[: signal.size]


def _write_wave(path: Path, samples: np.ndarray, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Run one package once; started by packages.py.")
    parser.add_argument("package", choices=sorted(TASKS))
    parser.add_argument("--module", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cuda", action="store_true", help="every session uses CUDA first; `module` has to be onnxgpu")
    parser.add_argument("--repeat", type=int, default=2, help="how often to do it again, with everything imported")
    options = parser.parse_args()
    sessions: list[Any] = []
    if options.module != "onnxruntime":
        module = importlib.import_module(options.module)
        module.as_onnxruntime(PROVIDERS if options.cuda else None)
        if options.cuda:
            sessions = _sessions_from_here_on(module.InferenceSession)
    import onnxruntime

    task = TASKS[options.package]
    first, answer = _timed(task)
    nodes = [{"model": _model_of(session), **vars(whereabouts(session))} for session in sessions]
    again = [_timed(task)[0] for _ in range(options.repeat)]
    result = {"answer": answer, "seconds": first, "again_seconds": min(again, default=None), "runtime": onnxruntime.__file__}
    options.out.write_text(json.dumps({**result, "sessions": nodes}))


def _sessions_from_here_on(session_class: Any) -> list[Any]:
    """A list that every session is put into when it has been made."""
    made: list[Any] = []
    make = session_class.__init__

    def make_and_keep(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        made.append(self)

    session_class.__init__ = make_and_keep
    return made


def _model_of(session: Any) -> str:
    path = session._model_path
    return str(session.get_modelmeta().graph_name) if path is None else Path(path).name


def _timed(task: Callable[[], Answer]) -> tuple[float, Answer]:
    start = time.perf_counter()
    answer = task()
    return time.perf_counter() - start, answer


if __name__ == "__main__":
    main()
