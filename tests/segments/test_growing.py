"""Segments whose engines come one by one: what serves when, what a server waits for, and that nothing is left of a session."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from onnxgpu import discovery
from onnxgpu.errors import EPFail, InvalidArgument, OnnxGpuError
from onnxgpu.options import SessionOptions
from onnxgpu.providers.segments import builds
from onnxgpu.providers.segments.shapes import Range
from onnxgpu.session import InferenceSession
from onnxgpu.warm_up import engine_builds
from tests.models import model
from tests.segments.growing import NAME, GrowingProvider
from tests.segments.providers import session
from tests.threads import in_threads

CHAIN = "g (float[n,3] x) => (float[n,3] z) { a = Relu(x)\n b = Neg(a)\n z = Sin(b) }"
FIXED = CHAIN.replace("[n,3]", "[2,3]")
PROFILES: dict[str, Any] = {"min": "x:1x3,x:100x3", "opt": "x:2x3,x:200x3", "max": "x:8x3,x:300x3"}


@pytest.fixture(autouse=True)
def growing(evaluator: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    values: dict[str, object] = {"opened": threading.Event(), "failing": False, "stands_by": True, "built": []}
    for name, value in values.items():
        monkeypatch.setattr(GrowingProvider, name, value, raising=False)
    discovery.register("growing", GrowingProvider)
    yield
    GrowingProvider.opened.set()
    discovery.unregister("growing")


def right(made: InferenceSession, rows: int) -> None:
    given = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
    np.testing.assert_allclose(made.run(None, {"x": given})[0], np.sin(-np.maximum(given, 0)), rtol=1e-6)


def pending(made: InferenceSession) -> list[bool]:
    return [not build.is_done for build in engine_builds(made.plan)]


def finish(made: InferenceSession) -> None:
    GrowingProvider.opened.set()
    for build in engine_builds(made.plan):
        assert build.wait()


def ranges() -> list[tuple[int, int]]:
    return [(bounds.least[0], bounds.most[0]) for profiles in GrowingProvider.built for profile in profiles for _, bounds in profile]


def test_no_run_waits_and_each_bucket_has_an_engine() -> None:
    made = session(CHAIN, first=NAME)
    assert pending(made) == []
    for rows in (5, 7, 5, 1, 3):
        right(made, rows)
    assert pending(made) == [True] * 3
    finish(made)
    assert ranges() == [(5, 8), (1, 1), (3, 4)]
    for rows in (5, 6, 7, 8, 4, 1):
        right(made, rows)
    assert len(GrowingProvider.built) == 3


def test_a_segment_of_fixed_shapes_needs_no_stand_by_once_its_engine_is_there() -> None:
    made = session(FIXED, first=NAME)
    right(made, 2)
    assert "stand_by:" in str(made.plan)
    finish(made)
    for _ in range(3):
        right(made, 2)
    assert "stand_by:" not in str(made.plan)


def test_a_given_profile_is_built_from_the_start_and_others_follow() -> None:
    made = session(CHAIN, first=NAME, **PROFILES)
    assert pending(made) == [True]
    right(made, 5)
    right(made, 150)
    assert pending(made) == [True], "one engine is for both profiles"
    right(made, 9)
    finish(made)
    assert GrowingProvider.built[0] == ((("x", Range((1, 3), (2, 3), (8, 3))),), (("x", Range((100, 3), (200, 3), (300, 3))),))
    assert ranges()[2:] == [(9, 16)]
    for rows in (1, 8, 300, 12):
        right(made, rows)


def test_runs_wait_where_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    threading.Timer(0.2, GrowingProvider.opened.set).start()
    made = session(CHAIN, first=NAME, on_request=1)
    right(made, 5)
    assert ranges() == [(5, 8)]
    assert "a run waits for an engine of segment" in caplog.text


def test_runs_wait_where_nothing_stands_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GrowingProvider, "stands_by", False)
    GrowingProvider.opened.set()
    made = session(CHAIN, first=NAME)
    for rows in (5, 6, 5, 6, 2):
        right(made, rows)
    assert ranges() == [(5, 8), (2, 2)]


def test_there_are_not_endlessly_many_engines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    GrowingProvider.opened.set()
    made = session(CHAIN, first=NAME, most=2)
    for rows in (1, 2, 3, 9, 1, 2, 3):
        right(made, rows)
    finish(made)
    assert len(GrowingProvider.built) == 2
    assert "has 2 engines: further shapes get none; give profiles or wider buckets" in caplog.text
    monkeypatch.setattr(GrowingProvider, "stands_by", False)
    waiting = session(CHAIN, first=NAME, most=1)
    right(waiting, 1)
    with pytest.raises(OnnxGpuError, match=r"has 1 engines and none for x: 2x3: give profiles or wider buckets"):
        right(waiting, 2)


def test_a_build_that_fails_leaves_the_stand_by_and_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    GrowingProvider.failing = True
    made = session(CHAIN, first=NAME)
    right(made, 5)
    finish(made)
    for _ in range(3):
        right(made, 5)
    assert len(list(engine_builds(made.plan))) == 1
    assert "could not be built: the library has no tactic for it" in caplog.text
    with pytest.raises(EPFail, match="segment 'g:Relu' of 3 nodes could not be built: the library has no tactic for it"):
        made.warm_up()


def test_a_build_that_fails_is_the_runs_error_where_nothing_stands_by() -> None:
    GrowingProvider.failing, GrowingProvider.stands_by = True, False
    GrowingProvider.opened.set()
    made = session(CHAIN, first=NAME)
    for _ in range(2):
        with pytest.raises(EPFail, match="the library has no tactic for it"):
            right(made, 5)


@pytest.mark.parametrize("text", [CHAIN, FIXED], ids=["profiles", "fixed shapes"])
def test_a_server_warms_up_before_it_is_ready(text: str) -> None:
    GrowingProvider.opened.set()
    made = session(text, first=NAME, **(PROFILES if text is CHAIN else {}))
    made.warm_up()
    assert pending(made) == [False]
    (program,) = made.programs
    assert len(program.sources()) == (2 if text is CHAIN else 1), "a fixed plan for each profile's best shapes"
    right(made, 2)


def test_a_server_warms_up_with_inputs_of_its_own() -> None:
    GrowingProvider.opened.set()
    made = session(CHAIN, first=NAME)
    made.warm_up([{"x": np.ones((rows, 3), np.float32)} for rows in (1, 5)])
    assert pending(made) == [False, False]
    assert len(made.programs[0].sources()) == 2


def test_waiting_ends_in_time_and_the_session_can_be_used() -> None:
    made = session(FIXED, first=NAME)
    with pytest.raises(TimeoutError, match=r"after 0.05 s engines are still being built: segment 'g:Relu' of 3 nodes"):
        made.warm_up(timeout=0.05)
    right(made, 2)
    GrowingProvider.opened.set()
    made.warm_up(timeout=30)


def test_shapes_that_are_not_known_are_told(caplog: pytest.LogCaptureFixture) -> None:
    session(CHAIN, first=NAME).warm_up()
    assert "warm_up runs nothing, since the shape of input x is not known: give it inputs, or profiles" in caplog.text


def test_a_session_warms_up_while_it_is_made() -> None:
    GrowingProvider.opened.set()
    options = SessionOptions()
    options.add_session_config_entry("onnxgpu.warm_up", "1")
    made = InferenceSession(model(FIXED).SerializeToString(), options, providers=[NAME, "CPUExecutionProvider"])
    assert pending(made) == [False]
    options.add_session_config_entry("onnxgpu.warm_up", "soon")
    with pytest.raises(InvalidArgument, match=r"entry 'onnxgpu.warm_up' is 'soon': expected 0 or 1"):
        InferenceSession(model(FIXED).SerializeToString(), options, providers=[NAME, "CPUExecutionProvider"])


def test_a_session_without_segments_warms_up_too() -> None:
    made = InferenceSession(model(FIXED).SerializeToString(), providers=["CPUExecutionProvider"])
    made.warm_up()
    assert len(made.programs[0].sources()) == 1


def test_a_session_that_is_gone_leaves_no_build() -> None:
    made = session(CHAIN, first=NAME)
    right(made, 5)
    right(made, 50)
    threads = [build._thread for build in engine_builds(made.plan)]  # type: ignore[attr-defined]
    assert all(thread.is_alive() for thread in threads)
    del made
    gc.collect()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert not builds._running


def test_an_interrupt_while_a_run_waits_cancels_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GrowingProvider, "stands_by", False)
    made = session(CHAIN, first=NAME)

    def interrupted(self: object, deadline: float | None = None) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(builds.Build, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            right(made, 5)
    (build,) = engine_builds(made.plan)
    assert build.wait()
    assert build.error is not None


def test_a_build_that_was_interrupted_begins_again_when_it_is_wanted() -> None:
    made = session(FIXED, first=NAME)
    right(made, 2)
    (build,) = engine_builds(made.plan)
    build.cancel()
    assert build.wait()
    for _ in range(3):
        right(made, 2)
    (again,) = engine_builds(made.plan)
    assert again is not build
    finish(made)
    for _ in range(3):
        right(made, 2)
    assert GrowingProvider.built == [()]
    assert "stand_by:" not in str(made.plan)


def test_threads_ask_for_one_engine() -> None:
    made = session(CHAIN, first=NAME)
    in_threads(lambda index: right(made, 5 + index % 3), range(8))
    finish(made)
    assert ranges() == [(5, 8)]
