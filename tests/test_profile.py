"""Profiles: the trace beside onnxruntime's, sums, the page and the command."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu.cli import main
from onnxgpu.errors import InvalidArgument
from onnxgpu.profile import TraceEvent, html_page, read_trace, summarize, write_trace
from onnxgpu.profile.recorder import Recorder
from tests.models import model
from tests.side_by_side import CPU, ort

TEXT = """g (float[N,3] x, bool c) => (float[N,3] y) <float[3,3] w = {1,2,3,4,5,6,7,8,9}> {
  doubled = MatMul (x, w)
  z = If (c) <then_branch = t () => (float[N,3] a) { a = Exp (doubled) }, else_branch = e () => (float[N,3] b) { b = Neg (doubled) }>
  y = Softmax (z)
}"""
FEED = {"x": np.full((2, 3), 0.01, np.float32), "c": np.array(True)}
NODE_ARGUMENTS = {"op_name", "provider", "node_index", "output_type_shape", "input_type_shape"}
NODE_ARGUMENTS |= {"output_size", "activation_size", "parameter_size"}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def profiled(module: ModuleType, runs: int = 1, **session_arguments: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A session and the events of its profile."""
    options = module.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = f"{module.__name__}_"
    options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = module.InferenceSession(model(TEXT).SerializeToString(), options, **{"providers": CPU, **session_arguments})
    for _ in range(runs):
        session.run(None, FEED)
    file = session.end_profiling()
    assert file.startswith(f"{module.__name__}__2")
    return session, json.loads(Path(file).read_text("utf-8"))


def test_events_are_those_of_onnxruntime() -> None:
    """The same names in the same order, with the same operators, providers, shapes and sizes.

    Inputs are compared by their arguments alone: onnxruntime leaves out weights that a kernel packed, and what bodies capture.
    """
    compared = sorted(NODE_ARGUMENTS - {"input_type_shape", "activation_size", "parameter_size"})

    def described(events: list[dict[str, Any]]) -> list[Any]:
        nodes = [event for event in events if event["cat"] == "Node"]
        assert all(event["args"].keys() >= NODE_ARGUMENTS for event in nodes)
        return [(event["name"], event["ph"], *(event["args"][key] for key in compared)) for event in nodes]

    theirs, ours = profiled(ort)[1], profiled(onnxgpu)[1]
    assert described(ours) == described(theirs)
    names = {"model_loading_array", "session_initialization", "SequentialExecutor::Execute", "model_run"}
    assert {event["name"] for event in ours if event["cat"] == "Session"} == names
    for event in ours:
        assert set(event) == {"cat", "pid", "tid", "dur", "ts", "ph", "name", "args"}
        assert isinstance(event["ts"], int)
        assert isinstance(event["dur"], int)


def test_nodes_lie_within_their_run_and_bodies_within_their_node() -> None:
    _, events = profiled(onnxgpu)
    spans = {event["name"]: (event["ts"], event["ts"] + event["dur"]) for event in events}
    for inner, outer in (
        ("MatMul_0_kernel_time", "model_run"),
        ("Exp_0_kernel_time", "If_1_kernel_time"),
        ("If_1_kernel_time", "model_run"),
    ):
        assert spans[outer][0] <= spans[inner][0] <= spans[inner][1] <= spans[outer][1]


def test_sizes_of_constants_and_inputs() -> None:
    _, events = profiled(onnxgpu)
    (product,) = [event["args"] for event in events if event["name"] == "MatMul_0_kernel_time"]
    assert product["parameter_size"] == "36"
    assert product["activation_size"] == "24"
    assert product["input_type_shape"] == [{"float": [2, 3]}, {"float": [3, 3]}]


def test_profiling_ends_once_and_runs_go_on() -> None:
    session, events = profiled(onnxgpu, runs=3)
    assert [event["name"] for event in events].count("model_run") == 3
    assert session.end_profiling() == ""
    assert session.get_profiling_start_time_ns() > 1_700_000_000 * 10**9
    np.testing.assert_array_equal(session.run(None, FEED)[0], onnxgpu.InferenceSession(model(TEXT), providers=CPU).run(None, FEED)[0])
    off = onnxgpu.InferenceSession(model(TEXT), providers=CPU)
    assert (off.end_profiling(), off.get_profiling_start_time_ns()) == ("", 0)


def test_a_session_that_ends_writes_its_profile() -> None:
    options = onnxgpu.SessionOptions()
    options.enable_profiling = True
    session = onnxgpu.InferenceSession(model(TEXT), options, providers=CPU)
    session.run(None, FEED)
    assert not list(Path().glob("*.json"))
    del session
    assert len(list(Path().glob("onnxruntime_profile_*.json"))) == 1


def test_a_terminated_run_is_recorded_up_to_its_end() -> None:
    options = onnxgpu.SessionOptions()
    options.enable_profiling = True
    session = onnxgpu.InferenceSession(model(TEXT), options, providers=CPU)
    run_options = onnxgpu.RunOptions()
    run_options.terminate = True
    with pytest.raises(Exception, match="terminate flag"):
        session.run(None, FEED, run_options)
    assert Path(session.end_profiling()).exists()


def test_transfers_say_what_they_move() -> None:
    options = onnxgpu.SessionOptions()
    options.enable_profiling = True
    session = onnxgpu.InferenceSession(
        model("g (float[4] x) => (float[4] y) { y = Exp (x) }"), options, providers=["LoopbackExecutionProvider", *CPU]
    )
    session.run(None, {"x": np.ones(4, np.float32)})
    events = read_trace(session.end_profiling())
    moved = [event.arguments for event in events if "transfer_bytes" in event.arguments]
    assert [(m["transfer_from"], m["transfer_to"], m["transfer_bytes"]) for m in moved] == [
        ("host", "loopback:0", "16"),
        ("loopback:0", "host", "16"),
    ]
    summary = summarize(events)
    assert (summary.transfers, summary.transfer_bytes) == (2, 32)


def event(name: str, start: int, duration: int, operator: str = "Op", **arguments: Any) -> TraceEvent:
    return TraceEvent("Node", f"{name}_kernel_time", start, duration, 1, {"op_name": operator, "provider": "P", **arguments})


def test_sums_count_the_time_of_bodies_once() -> None:
    """A loop of 100 ns with two nodes of 30 ns inside: 40 ns are its own."""
    events = [event("a", 10, 30), event("b", 50, 30), event("loop", 0, 100, "Loop"), event("c", 100, 100, output_size="200")]
    summary = summarize([*events, TraceEvent("Session", "model_run", 0, 210, 1)])
    assert {row.name: round(row.seconds * 1e9) for row in summary.nodes} == {"c": 100, "loop": 40, "a": 30, "b": 30}
    assert [(row.name, row.calls, round(row.share, 2)) for row in summary.operators] == [("Op", 3, 0.8), ("Loop", 1, 0.2)]
    assert summary.nodes[0].gigabytes_per_second == pytest.approx(2.0)
    assert (summary.runs, round(summary.run_seconds * 1e9)) == (1, 210)


def test_a_profile_of_onnxruntime_is_summed_too() -> None:
    _, events = profiled(ort)
    assert events
    (file,) = Path().glob("onnxruntime_*.json")
    assert {row.name for row in summarize(read_trace(file)).operators} == {"MatMul", "If", "Exp", "Softmax"}


def test_a_trace_is_read_as_it_was_written() -> None:
    events = [event("a", 1000, 2500), TraceEvent("Session", "model_run", 0, 4000, 7)]
    write_trace("trace.json", events)
    assert read_trace("trace.json") == events


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"ph": "X"}]'])
def test_a_file_that_is_no_trace(text: str) -> None:
    Path("other.json").write_text(text)
    with pytest.raises(InvalidArgument, match="is no profile"):
        read_trace("other.json")


def test_a_profile_that_cannot_be_written() -> None:
    """It is said when the session is made, and not when its runs are done."""
    options = onnxgpu.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = "nowhere/profile"
    with pytest.raises(InvalidArgument, match="cannot be written: there is no folder"):
        onnxgpu.InferenceSession(model(TEXT), options, providers=CPU)
    with pytest.raises(InvalidArgument, match="cannot be written"):
        write_trace("nowhere/trace.json", [])


def test_the_file_lies_where_the_session_was_made(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    recorder = Recorder("profile")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert (here / recorder.finish()).is_file()


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attributes if key in ("href", "src")]


def test_the_page_needs_nothing_else_and_escapes_names() -> None:
    page = html_page([event("<b>&", 0, 100), TraceEvent("Session", "model_run", 0, 100, 1)], "a < b")
    parser = _Tags()
    parser.feed(page)
    assert not parser.links
    assert "script" not in parser.tags
    assert "b" not in parser.tags
    assert parser.tags.count("rect") == 2
    assert "&lt;b&gt;&amp;" in page


def test_the_command_prints_and_writes(capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(model(TEXT), "m.onnx")
    assert main(["profile", "m.onnx", "--runs", "2", "--json", "trace.json", "--html", "page.html"]) == 0
    printed = capsys.readouterr().out
    for heading in ("2 runs", "operators", "nodes", "providers", "Softmax", "CPU"):
        assert heading in printed
    assert summarize(read_trace("trace.json")).runs == 2
    assert Path("page.html").read_text("utf-8").startswith("<!doctype html>")
