"""`as_onnxruntime`: what `import onnxruntime` gives, what it leaves alone, and that it can be undone."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from onnxgpu import provider_override
from onnxgpu.drop_in.modules import SERVED
from onnxgpu.errors import InvalidArgument
from onnxgpu.release import COMPATIBLE_VERSION
from tests.models import model

CPU, LOOPBACK, CUDA = "CPUExecutionProvider", "LoopbackExecutionProvider", "CUDAExecutionProvider"
ROOT = Path(__file__).resolve().parents[1]
MODEL = model("g (float[2] x) => (float[2] y) { y = Neg(x) }").SerializeToString()


def _of_onnxruntime() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "onnxruntime"}


@pytest.fixture(autouse=True)
def _without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins with onnxruntime not imported, as a program does, and leaves everything as it was."""
    before, path = _of_onnxruntime(), list(sys.meta_path)
    for name in before:
        del sys.modules[name]
    for name in ("ONNXGPU_STRICT", "ONNXGPU_PROVIDERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(provider_override, "_said", set())
    yield
    provider_override.force(None)
    sys.meta_path[:] = path
    for name in _of_onnxruntime():
        del sys.modules[name]
    sys.modules.update(before)


def _imported(name: str) -> Any:
    return importlib.import_module(name)


def test_import_gives_onnxgpu_with_the_compatible_version() -> None:
    with onnxgpu.as_onnxruntime():
        ort = _imported("onnxruntime")
        assert ort.InferenceSession is onnxgpu.InferenceSession
        assert (ort.__version__, ort.version, ort.get_version_string()) == (COMPATIBLE_VERSION,) * 3
        assert onnxgpu.__version__ != COMPATIBLE_VERSION
        assert ort.__name__ == ort.__spec__.name == ort.__package__ == "onnxruntime"
        assert ort.InferenceSession(MODEL).get_providers() == [CPU]


@pytest.mark.parametrize("name", sorted(SERVED))
def test_every_submodule_is_the_one_of_onnxgpu(name: str) -> None:
    with onnxgpu.as_onnxruntime():
        served, ours = _imported(name), _imported(SERVED[name])
        differs = ("version", "get_version_string")
        public = [n for n in dir(ours) if not n.startswith("_") and n not in differs and not isinstance(getattr(ours, n), ModuleType)]
        assert all(getattr(served, n) is getattr(ours, n) for n in public)
        assert served.__name__ == name and served.__file__ == ours.__file__ and served.__doc__ == ours.__doc__
        assert set(public) <= set(dir(served)) and ("InvalidArgument" in public or name != "onnxruntime.capi._pybind_state")


def test_submodules_are_attributes_without_being_imported() -> None:
    with onnxgpu.as_onnxruntime():
        ort = _imported("onnxruntime")
        assert ort.capi._pybind_state.InvalidArgument is InvalidArgument
        assert ort.capi is sys.modules["onnxruntime.capi"]
        assert ort.capi.onnxruntime_pybind11_state.__name__ == "onnxruntime.capi.onnxruntime_pybind11_state"


def test_star_import_and_errors() -> None:
    names: dict[str, Any] = {}
    with onnxgpu.as_onnxruntime():
        exec("from onnxruntime import *\nfrom onnxruntime.capi.onnxruntime_pybind11_state import *", names)
    assert names["InvalidArgument"] is InvalidArgument and names["SessionOptions"] is onnxgpu.SessionOptions


def test_an_unknown_name_is_an_attribute_error_that_says_whose() -> None:
    with onnxgpu.as_onnxruntime():
        with pytest.raises(AttributeError, match="'onnxruntime', which is onnxgpu, has no attribute"):
            _ = _imported("onnxruntime").nothing
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'onnxruntime\.training'"):
            _imported("onnxruntime.training")


def test_what_a_program_sets_stays_on_the_served_module(monkeypatch: pytest.MonkeyPatch) -> None:
    with onnxgpu.as_onnxruntime():
        ort = _imported("onnxruntime")
        ort.get_device = lambda: "TPU"
        assert ort.get_device() == "TPU" and onnxgpu.get_device() in ("CPU", "GPU")


def test_metadata_and_specs_as_programs_ask_for_them() -> None:
    with onnxgpu.as_onnxruntime():
        distribution = importlib.metadata.distribution("onnxruntime")
        assert importlib.metadata.version("onnxruntime") == importlib.metadata.version("OnnxRuntime") == COMPATIBLE_VERSION
        assert distribution.metadata["Name"] == "onnxruntime" and distribution.requires is None
        assert Path(str(distribution.locate_file("onnxgpu/__init__.py"))) == Path(onnxgpu.__file__)
        assert "onnxruntime" in importlib.metadata.packages_distributions()
        spec = importlib.util.find_spec("onnxruntime")
        assert spec is not None and spec.origin == onnxgpu.__file__ and "onnxruntime" not in sys.modules
        _imported("onnxruntime.capi")
        assert importlib.util.find_spec("onnxruntime.capi.onnxruntime_pybind11_state") is not None
        assert importlib.util.find_spec("onnxruntime.training") is None
        assert importlib.metadata.version("onnxgpu") == onnxgpu.__version__


def test_tools_come_from_the_real_package_and_run_on_onnxgpu() -> None:
    pytest.importorskip("onnxruntime.quantization.calibrate")
    for name in _of_onnxruntime():
        del sys.modules[name]
    with onnxgpu.as_onnxruntime():
        calibrate = _imported("onnxruntime.quantization.calibrate")
        assert "onnxgpu" not in calibrate.__file__
        assert calibrate.onnxruntime.InferenceSession is onnxgpu.InferenceSession


def test_onnxruntimes_tools_quantise_with_our_functions(tmp_path: Path) -> None:
    weights = ", ".join(["0.5", "-1"] * 64)
    product = model(f"g (float[b, 16] x) => (float[b, 8] y) <float[16, 8] w = {{{weights}}}> {{ y = MatMul(x, w) }}")
    onnx.save(product, tmp_path / "m.onnx")
    x = np.ones((1, 16), np.float32)
    pytest.importorskip("onnxruntime.quantization.matmul_nbits_quantizer")
    for name in _of_onnxruntime():
        del sys.modules[name]
    with onnxgpu.as_onnxruntime():
        dynamic, blocks = tmp_path / "dynamic.onnx", tmp_path / "blocks.onnx"
        _imported("onnxruntime.quantization").quantize_dynamic(tmp_path / "m.onnx", dynamic)
        tool = _imported("onnxruntime.quantization.matmul_nbits_quantizer")
        assert tool.quantize_matmul_4bits is _imported("onnxgpu.weight_packing").quantize_matmul_4bits
        quantizer = tool.MatMulNBitsQuantizer(product, block_size=16, is_symmetric=True)
        quantizer.process()
        onnx.save(quantizer.model.model, blocks)
        for path, operator in ((dynamic, "MatMulInteger"), (blocks, "MatMulNBits")):
            assert operator in [node.op_type for node in onnx.load(path).graph.node]
            found = _imported("onnxruntime").InferenceSession(path).run(None, {"x": x})[0]
            np.testing.assert_allclose(found, [[8, -16] * 4], atol=0.1)


@pytest.mark.parametrize("tool", ["quantization", "transformers", "tools"])
def test_tools_without_the_real_package(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxgpu.drop_in.modules.real_folders", list)
    with onnxgpu.as_onnxruntime(), pytest.raises(ImportError, match=f"onnxruntime.{tool} is a tool .* Install onnxruntime beside onnxgpu"):
        _imported(f"onnxruntime.{tool}")


def test_the_real_one_that_was_imported_before_comes_back() -> None:
    real = pytest.importorskip("onnxruntime")
    before = _of_onnxruntime()
    holder = ModuleType("a_module_that_imported_onnxruntime")
    holder.ort = real  # type: ignore[attr-defined]
    sys.modules[holder.__name__] = holder
    try:
        with pytest.warns(UserWarning, match="a_module_that_imported_onnxruntime") as caught:
            serving = onnxgpu.as_onnxruntime()
    finally:
        del sys.modules[holder.__name__]
    assert len(caught) == 1 and caught[0].filename == __file__
    assert _imported("onnxruntime").InferenceSession is onnxgpu.InferenceSession
    serving.undo()
    assert _of_onnxruntime() == before and _imported("onnxruntime") is real
    assert importlib.metadata.version("onnxruntime") == real.__version__
    serving.undo()
    assert _imported("onnxruntime") is real


def test_providers_override_what_a_program_names(caplog: pytest.LogCaptureFixture) -> None:
    with onnxgpu.as_onnxruntime(providers=[(LOOPBACK, {"fraction": 1.0}), CPU]), caplog.at_level(logging.WARNING, "onnxgpu"):
        ort = _imported("onnxruntime")
        for given in (None, [CPU], [CUDA, CPU]):
            session = ort.InferenceSession(MODEL, providers=given)
            assert session.get_providers() == [LOOPBACK, CPU]
        assert session.get_provider_options()[LOOPBACK]["fraction"] == "1.0"
        with onnxgpu.as_onnxruntime(providers=CPU):
            assert ort.InferenceSession(MODEL, providers=[LOOPBACK]).get_providers() == [CPU]
        assert ort.InferenceSession(MODEL, providers=[CPU]).get_providers() == [LOOPBACK, CPU]
    said = [record.getMessage() for record in caplog.records if "in place of the providers that programs name" in record.getMessage()]
    assert len(said) == 2 and LOOPBACK in said[0]
    assert onnxgpu.InferenceSession(MODEL, providers=[CPU]).get_providers() == [CPU]


def test_the_call_comes_before_the_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXGPU_PROVIDERS", LOOPBACK)
    assert onnxgpu.InferenceSession(MODEL, providers=[CPU]).get_providers() == [LOOPBACK, CPU]
    with onnxgpu.as_onnxruntime(providers=[CPU]):
        assert onnxgpu.InferenceSession(MODEL, providers=[LOOPBACK]).get_providers() == [CPU]


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        (["CPUExecutionprovider"], "Unknown Provider"),
        ([(CPU, {"fast": 1})], "no option 'fast'"),
        ([(CUDA, {"device_id": "x"})], "wants int"),
    ],
)
def test_mistakes_are_told_at_once_and_change_nothing(providers: Any, words: str) -> None:
    before = list(sys.meta_path)
    with pytest.raises(InvalidArgument, match=words):
        onnxgpu.as_onnxruntime(providers=providers)
    assert sys.meta_path == before and provider_override.forced() is None


PROGRAM = """
import sys, importlib.metadata
import onnxruntime as ort
print(__name__, ort.__version__, importlib.metadata.version("onnxruntime"), *sys.argv[1:])
print(sys.path[0])
session = ort.InferenceSession(bytes.fromhex(sys.stdin.read()))
print(session.get_providers())
sys.exit(3)
"""


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "onnxgpu.as_onnxruntime", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, input=MODEL.hex(), capture_output=True, text=True, timeout=120, check=False)


def test_command_runs_scripts_and_modules(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    script = _run("--providers", LOOPBACK, str(folder / "program.py"), "-a", "--providers", "b", cwd=tmp_path)
    assert script.returncode == 3, script.stderr
    assert script.stdout.splitlines() == [
        f"__main__ {COMPATIBLE_VERSION} {COMPATIBLE_VERSION} -a --providers b",
        str(folder),
        f"['{LOOPBACK}', '{CPU}']",
    ]
    module = _run("-m", "program", "-m", "c", cwd=folder)
    assert module.returncode == 3, module.stderr
    assert module.stdout.splitlines()[0] == f"__main__ {COMPATIBLE_VERSION} {COMPATIBLE_VERSION} -m c"
    assert module.stdout.splitlines()[2] == f"['{CPU}']"


PARENT = """
import multiprocessing, subprocess, sys
import onnxruntime as ort

def told():
    import onnxruntime
    return onnxruntime.InferenceSession(MODEL).get_providers()

MODEL = bytes.fromhex("{model}")
if __name__ == "__main__":
    print(told())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(told))
    program = "import onnxruntime, hidden; print(onnxruntime.InferenceSession.__module__, hidden.ran)"
    print(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
"""


def test_processes_that_the_program_starts_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hidden.py").write_text("ran = False")
    (tmp_path / "sitecustomize.py").write_text("import hidden; hidden.ran = True")
    (tmp_path / "program.py").write_text(PARENT.format(model=MODEL.hex()))
    monkeypatch.setattr("tests.test_as_onnxruntime.ROOT", f"{tmp_path}{os.pathsep}{ROOT}")
    outcome = _run("--providers", LOOPBACK, "program.py", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.split("\n")[:3] == [f"['{LOOPBACK}', '{CPU}']"] * 2 + ["onnxgpu.session True"]


def test_command_says_what_is_wrong(tmp_path: Path) -> None:
    assert "give a script, or -m and a module" in _run(cwd=tmp_path).stderr
    wrong = _run("--providers", "Nope", "x.py", cwd=tmp_path)
    assert wrong.returncode == 2 and "Unknown Provider Type: Nope" in wrong.stderr


def test_importing_the_command_does_not_hide_the_function() -> None:
    command = _imported("onnxgpu.as_onnxruntime")
    with onnxgpu.as_onnxruntime() as serving, command() as inner:
        assert type(serving) is type(inner)
