"""What a program meets: 51 probes of onnxruntime and of onnxgpu in one run, with the same results, errors and warnings.

An error is the same if its class has the same name, can be imported from `onnxruntime_pybind11_state` where onnxruntime's can, and
its text begins with onnxruntime's, up to where that names a file of its own source. Behind that onnxgpu says what to do.
"""

from __future__ import annotations

import copy
import importlib
import io
import json
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import onnxgpu

onnxruntime = pytest.importorskip("onnxruntime")

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
HEADER = '<ir_version: 9, opset_import: ["" : 18]>'
X = np.ones((2, 3), np.float32)


def _model() -> onnx.ModelProto:
    graph = "gname (float[N, 3] x, float[3, 2] w = {1, 1, 1, 1, 1, 1}) => (float[N, 2] z) { y = MatMul(x, w) z = Relu(y) }"
    model = onnx.parser.parse_model(f"{HEADER} {graph}")
    model.producer_name, model.doc_string, model.domain, model.model_version, model.graph.doc_string = "prod", "doc", "dom", 7, "gdoc"
    model.metadata_props.add(key="k", value="v")
    return model


def _bytes(graph: str) -> bytes:
    model: bytes = onnx.parser.parse_model(f"{HEADER} {graph}").SerializeToString()
    return model


UNKNOWN_OPERATOR = _bytes("g (float[1] x) => (float[1] y) { y = NoSuchOp(x) }")
SHAPE_CONFLICT = _bytes("g (float[2] x, float[3] x2) => (float y) { y = Add(x, x2) }")
RESHAPE = onnx.parser.parse_model(f"{HEADER} g (float[N] x, int64[1] s) => (float[M] y) {{ y = Reshape(x, s) }}")
RESHAPE.graph.node[0].name = "rs"


class Subject:
    """One of the two modules, with a session on the model."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.session = self.made([CPU])

    def made(self, providers: Any = None, *arguments: Any, options: Any = None) -> Any:
        return self.module.InferenceSession("b.onnx", options, providers, *arguments)

    def run(self, x: Any, **others: Any) -> Any:
        return self.session.run(None, {"x": x, **others})

    def options(self, **values: Any) -> Any:
        options = self.module.SessionOptions()
        for name, value in values.items():
            setattr(options, name, value)
        return options


def _arguments(found: Any) -> Any:
    return [(argument.name, argument.type, argument.shape) for argument in found]


def _metadata(s: Subject) -> Any:
    names = ("custom_metadata_map", "description", "domain", "graph_description", "graph_name", "producer_name", "version")
    return {name: getattr(s.session.get_modelmeta(), name) for name in names}


def _profile(s: Subject) -> Any:
    session = s.made([CPU], options=s.options(enable_profiling=True, profile_file_prefix="p"))
    session.run(None, {"x": X})
    name = session.end_profiling()
    events = json.loads(Path(name).read_text())
    kernels = [event["name"] for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    shapes = next(event["args"]["input_type_shape"] for event in events if event["name"].endswith("MatMul_0_kernel_time"))
    return Path(name).name[:2], Path(name).suffix, kernels[0], shapes, sorted({event["cat"] for event in events})


def _bound(s: Subject) -> Any:
    binding = s.session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("z")
    s.session.run_with_iobinding(binding)
    return [type(value).__name__ for value in binding.get_outputs()], binding.copy_outputs_to_cpu()


def _value(s: Subject) -> Any:
    v = s.module.OrtValue.ortvalue_from_numpy(X)
    facts = (v.device_name(), v.data_type(), v.element_type(), v.shape(), v.is_tensor(), v.has_value(), v.tensor_size_in_bytes())
    return facts, v.__dlpack_device__()


def _async(s: Subject) -> Any:
    done, told = threading.Event(), []

    def callback(results: Any, data: Any, error: Any) -> None:
        told.append((results, data, error))
        done.set()

    s.session.run_async(None, {"x": X}, callback, "data")
    return done.wait(10), told


def _terminated(s: Subject) -> Any:
    options = s.module.RunOptions()
    options.terminate = True
    return s.session.run(None, {"x": X}, options)


def _overridden(s: Subject) -> Any:
    options = s.options()
    options.add_free_dimension_override_by_name("N", 5)
    return s.made([CPU], options=options).get_inputs()[0].shape


def _runtime_error(s: Subject) -> Any:
    session = s.module.InferenceSession(RESHAPE.SerializeToString(), providers=[CPU])
    return session.run(None, {"x": np.ones(3, np.float32), "s": np.array([5], np.int64)})


PROBES: dict[str, Callable[[Subject], Any]] = {
    "run": lambda s: s.run(X),
    "outputs by name": lambda s: s.session.run(["z"], {"x": X}),
    "empty list of outputs": lambda s: s.session.run([], {"x": X}),
    "missing input": lambda s: s.session.run(None, {}),
    "unknown input": lambda s: s.run(X, q=X),
    "unknown output": lambda s: s.session.run(["nope"], {"x": X}),
    "wrong dtype": lambda s: s.run(X.astype(np.float64)),
    "wrong rank": lambda s: s.run(np.ones(3, np.float32)),
    "wrong dimension": lambda s: s.run(np.ones((2, 4), np.float32)),
    "list input": lambda s: s.run([[1.0, 2.0, 3.0]]),
    "list of integers": lambda s: s.run([[1, 2, 3]]),
    "scalar input": lambda s: s.run(1.0),
    "None as input": lambda s: s.run(None),
    "not contiguous": lambda s: s.run(np.ones((3, 2), np.float32).T),
    "OrtValue in run": lambda s: s.run(s.module.OrtValue.ortvalue_from_numpy(X)),
    "overridden initializer": lambda s: s.run(X, w=np.zeros((3, 2), np.float32)),
    "names as bytes": lambda s: s.session.run(None, {b"x": X}),
    "inputs": lambda s: _arguments(s.session.get_inputs()),
    "outputs": lambda s: _arguments(s.session.get_outputs()),
    "overridable initializers": lambda s: _arguments(s.session.get_overridable_initializers()),
    "argument as text": lambda s: str(s.session.get_inputs()[0]),
    "metadata": _metadata,
    "no file": lambda s: s.module.InferenceSession("nope.onnx"),
    "no protobuf": lambda s: s.module.InferenceSession(b"garbage"),
    "no bytes": lambda s: s.module.InferenceSession(b""),
    "no model": lambda s: s.module.InferenceSession(123),
    "unknown provider": lambda s: s.made(["FooExecutionProvider"]).get_providers(),
    "CUDA on a machine without": lambda s: s.made([CUDA]).get_providers(),
    "provider named twice": lambda s: s.made([CPU, CPU]).get_providers(),
    "unknown provider option": lambda s: s.made([(CPU, {"a": 1})]).get_provider_options(),
    "malformed provider": lambda s: s.made([(CPU,)]).get_providers(),
    "too few provider options": lambda s: s.made([CPU], []).get_providers(),
    "no list of providers": lambda s: s.made().get_providers(),
    "empty list of providers": lambda s: s.made([]).get_providers(),
    "path object": lambda s: s.module.InferenceSession(Path("b.onnx")).get_providers(),
    "end of no profile": lambda s: s.session.end_profiling(),
    "profile": _profile,
    "I/O binding": _bound,
    "OrtValue": _value,
    "OrtValue in CUDA memory": lambda s: s.module.OrtValue.ortvalue_from_numpy(X, "cuda", 0),
    "run with OrtValues": lambda s: [
        value.numpy() for value in s.session.run_with_ort_values(None, {"x": s.module.OrtValue.ortvalue_from_numpy(X)})
    ],
    "asynchronous run": _async,
    "unknown run option": lambda s: setattr(s.module.RunOptions(), "foo", 1),
    "terminated run": _terminated,
    "unknown configuration entry": lambda s: s.options().get_session_config_entry("nope"),
    "free dimension": _overridden,
    "pickle": lambda s: pickle.loads(pickle.dumps(s.session)).run(None, {"x": X}),
    "deep copy": lambda s: copy.deepcopy(s.session).run(None, {"x": X}),
    "unknown operator": lambda s: s.module.InferenceSession(UNKNOWN_OPERATOR),
    "conflict of shapes": lambda s: s.module.InferenceSession(SHAPE_CONFLICT),
    "error in an operator": _runtime_error,
}

DELIBERATE = {
    "unknown provider": "raises",
    "CUDA on a machine without": "warns with the cause, as a class of its own",
    "unknown provider option": "raises",
    "malformed provider": "raises",
    "too few provider options": "raises",
    "pickle": "works",
    "deep copy": "works",
}
"""Where onnxruntime's behaviour is a defect; each has a row in docs/onnxruntime.md."""


@dataclass
class Outcome:
    """What a probe gave or raised, and what it said meanwhile."""

    result: Any = None
    error: type[BaseException] | None = None
    text: str = ""
    warned: list[tuple[str, str]] = field(default_factory=list)
    printed: str = ""


def _probed(probe: Callable[[Subject], Any], subject: Subject) -> Outcome:
    outcome, printed = Outcome(), io.StringIO()
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            outcome.result = probe(subject)
        except Exception as error:
            outcome.error, outcome.text = type(error), str(error)
    outcome.warned = [(item.category.__name__, str(item.message)) for item in caught if item.category is not DeprecationWarning]
    outcome.printed = printed.getvalue()
    return outcome


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("probes"))
        for name in ("ONNXGPU_STRICT", "ONNXGPU_PROVIDERS"):
            patch.delenv(name, raising=False)
        Path("b.onnx").write_bytes(_model().SerializeToString())
        onnxruntime.set_default_logger_severity(4)
        yield SimpleNamespace(theirs=Subject(onnxruntime), ours=Subject(onnxgpu))


def _common(text: str) -> str:
    """An error's text up to the first file of onnxruntime's source."""
    return text.split("/onnxruntime_src")[0].strip()


def test_there_are_51_probes() -> None:
    assert len(PROBES) == 51 and set(DELIBERATE) <= set(PROBES) and len(DELIBERATE) <= 8


@pytest.mark.parametrize("name", [name for name in PROBES if name not in DELIBERATE])
def test_same_as_onnxruntime(name: str, subjects: SimpleNamespace) -> None:
    theirs, ours = _probed(PROBES[name], subjects.theirs), _probed(PROBES[name], subjects.ours)
    assert (ours.error and ours.error.__name__) == (theirs.error and theirs.error.__name__), ours.text
    assert ours.text.startswith(_common(theirs.text))
    assert (ours.warned, ours.printed) == (theirs.warned, theirs.printed)
    np.testing.assert_equal(ours.result, theirs.result)
    if theirs.error is not None and theirs.error.__module__.startswith("onnxruntime."):
        state = importlib.import_module("onnxgpu.capi.onnxruntime_pybind11_state")
        assert ours.error is getattr(state, theirs.error.__name__)


@pytest.mark.parametrize("name", DELIBERATE)
def test_deliberate_difference(name: str, subjects: SimpleNamespace) -> None:
    theirs, ours = _probed(PROBES[name], subjects.theirs), _probed(PROBES[name], subjects.ours)
    assert theirs.error is (TypeError if name in ("pickle", "deep copy") else None)
    if DELIBERATE[name] == "raises":
        assert ours.error is onnxgpu.errors.InvalidArgument and not ours.printed
    elif DELIBERATE[name] == "works":
        np.testing.assert_equal(ours.result, subjects.ours.run(X))
    else:
        ((category, text),) = ours.warned
        assert category == "ProviderFallbackWarning" and text.startswith(f"{CUDA} is not available: ") and ours.result == theirs.result
