"""What a provider of segments learns of the model before segments are offered: its inputs, and shapes inside for shapes of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from onnxgpu.provider import ValueInfo
from onnxgpu.providers.segments.shapes import Profile, Range, derived, given_profiles
from onnxgpu.segment_provider import Shape, ShapesAt
from tests.segments.providers import EvaluatorProvider, session

MODEL = """g (float[n,3,h,w] x, float[1,k] y) => (float[1,m] z) {
  e = Exp(x)
  flat = Flatten<axis = 0>(e)
  both = Concat<axis = 1>(flat, y)
  z = Relu(both)
}"""
TEXTS = [("min", "x:1x3x4x4,y:1x1"), ("opt", "x:2x3x4x4,y:1x1"), ("max", "x:4x3x8x8,y:1x9")]


def ends(profile: Profile) -> list[dict[str, Shape]]:
    return [{name: getattr(bounds, end) for name, bounds in profile} for end in ("least", "best", "most")]


def test_a_profile_of_the_models_inputs_reaches_a_segment_inside(
    evaluator: type[EvaluatorProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Sequence[ValueInfo], Profile, list[dict[str, Shape]]]] = []

    def survey(self: EvaluatorProvider, inputs: Sequence[ValueInfo], shapes_at: ShapesAt) -> None:
        (profile,) = given_profiles(TEXTS, inputs)
        told.append((inputs, profile, [dict(shapes_at(end)) for end in ends(profile)]))
        assert "both" not in shapes_at({"x": (2, 3, 4, 5)}), "y is not known"
        assert shapes_at({"x": (2, 3, 4, 5)})["flat"] == (1, 120)

    monkeypatch.setattr(evaluator, "survey", survey)
    made = session(MODEL)
    ((inputs, profile, shapes),) = told
    assert [(value.name, value.shape) for value in inputs] == [("x", ("n", 3, "h", "w")), ("y", (1, "k"))]
    (segment,) = evaluator.offered
    assert segment.inputs[0].shape == (1, None)
    assert derived(profile, inputs, segment.inputs) == ((), ("both",))
    assert derived(profile, inputs, segment.inputs, shapes) == ((("both", Range((1, 49), (1, 97), (1, 777))),), ())
    x, y = np.ones((2, 3, 4, 5), np.float32), np.ones((1, 6), np.float32)
    assert made.run(None, {"x": x, "y": y})[0].shape == (1, 126), "the model is what it was"
