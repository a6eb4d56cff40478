"""Model packages: written by one and read by the other, and every method side by side with onnxruntime."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu
from tests.models import model
from tests.side_by_side import ort, outcome

NEG = "g (float[2] x) => (float[2] y) { y = Neg (x) }"
X = np.ones(2, np.float32)
RUNS = {"ep": "CPUExecutionProvider", "executor_info": {"ort": {"model_file": "model.onnx"}}}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("asset/d").mkdir(parents=True)
    Path("asset/a.txt").write_text("hello")
    Path("asset/d/b.txt").write_text("b")


def write_package(manifest: Any, components: dict[str, Any] | None = None, models: tuple[str, ...] = ()) -> None:
    """The folder `pk` with these files."""
    shutil.rmtree("pk", ignore_errors=True)
    Path("pk").mkdir()
    Path("pk/manifest.json").write_text(json.dumps(manifest))
    for name, body in (components or {}).items():
        Path(f"pk/{name}").mkdir()
        Path(f"pk/{name}/component.json").write_text(json.dumps(body))
    for path in models:
        Path(f"pk/{path}").parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model(NEG), f"pk/{path}")


def assert_alike(program: Callable[[ModuleType], Any]) -> None:
    """The same result, or the same class of error."""
    theirs, expected = outcome(program, ort)
    ours, actual = outcome(program, onnxgpu)
    assert ours == theirs, (expected, actual)
    assert actual == expected or ours != "gives"


def chosen(module: ModuleType, *, named: bool = True) -> Any:
    """The variant of component `c` for the CPU, and what its session gives."""
    options = module.SessionOptions()
    if named:
        options.add_provider("CPUExecutionProvider", {})
    component = module.ModelPackageContext("pk").select_component("c", module.ModelPackageOptions(options))
    session = component.create_session()
    folder = os.path.relpath(component.get_selected_variant_folder_path())
    return [component.get_selected_variant_name(), folder, session.get_providers(), session.run(None, {"x": X})]


@pytest.mark.parametrize(
    "variants",
    [
        {},
        {"v": {}},
        {"v": {"ep": "CPUExecutionProvider"}},
        {"v": RUNS},
        {"v": RUNS, "w": RUNS},
        {"w": {**RUNS, "ep": "CUDAExecutionProvider"}, "v": RUNS},
        {"v": {**RUNS, "device": "cpu"}},
        {"v": {**RUNS, "device": "npu"}},
        {"v": {**RUNS, "device": "other"}},
        {"v": {**RUNS, "bogus": 1}},
        {"v": {**RUNS, "ep": 3}},
        {"v": 3},
        {"v": {**RUNS, "variant_directory": "w"}},
        {"v": {**RUNS, "variant_directory": "nowhere"}},
        {"v": {**RUNS, "variant_directory": "../c/v"}},
        {"v": {"ep": "CPUExecutionProvider", "executor_info": {"ort": "info.json"}}},
        {"v": {"ep": "CPUExecutionProvider", "executor_info": {"ort": 3}}},
        {"v": {"ep": "CPUExecutionProvider", "executor_info": {"ort": {"model_file": "../../out.onnx"}}}},
        {"v": {**RUNS, "executor_info": {"ort": {"model_file": "model.onnx", "session_options": {"session.enable_profiling": "1"}}}}},
    ],
)
def test_the_choice_of_a_variant(variants: dict[str, Any]) -> None:
    write_package({"schema_version": "1.0", "components": {"c": "c"}}, {"c": {"variants": variants}}, ("c/v/model.onnx", "c/w/model.onnx"))
    Path("pk/c/v/info.json").write_text('{"model_file": "model.onnx"}')
    assert_alike(chosen)
    assert_alike(lambda module: chosen(module, named=False))
    assert_alike(lambda module: [module.ModelPackageContext("pk").get_variant_names("c"), module.ModelPackage.open("pk").get_info()])


@pytest.mark.parametrize(
    "manifest",
    [
        {"components": {}},
        {"schema_version": 1, "components": {}},
        {"schema_version": "1.7", "components": {}, "newer": 1},
        {"schema_version": "1.0", "components": {}, "newer": 1},
        {"schema_version": "2.0", "components": {}},
        {"schema_version": "one", "components": {}},
        {"schema_version": "1.0"},
        {"schema_version": "1.0", "components": []},
        {"schema_version": "1.0", "components": {"c": "../x"}},
        {"schema_version": "1.0", "components": {"c": "nowhere"}},
        {"schema_version": "1.0", "components": {"c": {"variants": {}}, "d": {"variants": {"v": {}}}}},
        {"schema_version": "1.0", "components": {}, "layout": "loose"},
        {"schema_version": "1.0", "components": {}, "layout": "installed", "package_name": "n", "additional_metadata": [1]},
    ],
)
def test_manifests(manifest: dict[str, Any]) -> None:
    write_package(manifest)

    def described(module: ModuleType) -> Any:
        context = module.ModelPackageContext("pk")
        names = context.get_component_names()
        counts = [context.get_variant_count(name) for name in names]
        return [context.get_schema_version(), context.get_component_count(), names, counts, module.ModelPackage.open("pk").get_info()]

    assert_alike(described)


@pytest.mark.parametrize("content", ["", "junk", "[]"])
def test_manifests_that_are_no_json_object(content: str) -> None:
    Path("pk").mkdir()
    Path("pk/manifest.json").write_text(content)
    assert_alike(lambda module: module.ModelPackageContext("pk"))
    assert_alike(lambda module: module.ModelPackage.open("pk"))


def test_what_is_not_there() -> None:
    write_package({"schema_version": "1.0", "components": {"c": {"variants": {"v": {}}}}})
    for program in (
        lambda m: m.ModelPackageContext("nowhere"),
        lambda m: m.ModelPackageContext("asset"),
        lambda m: m.ModelPackage.open("nowhere"),
        lambda m: m.ModelPackageContext("pk").get_variant_names("zz"),
        lambda m: m.ModelPackageContext("pk").get_variant_ep_name("c", "zz"),
        lambda m: m.ModelPackage.open("pk").get_component_json("zz"),
        lambda m: m.ModelPackage.open("pk").get_variant_json("c", "zz"),
        lambda m: m.ModelPackage.compute_directory_hash("nowhere"),
    ):
        assert_alike(program)


def attempts(package: Any, calls: list[tuple[Any, ...]]) -> list[Any]:
    """What each call gives, or the class of its error."""
    seen: list[Any] = []
    for name, *arguments in calls:
        try:
            seen.append((name, getattr(package, name)(*arguments)))
        except Exception as error:
            seen.append((name, type(error).__name__))
    return seen


CALLS: list[tuple[Any, ...]] = [
    ("get_info",),
    ("set_metadata", "n", "1.2", "about"),
    ("set_metadata", None, None, "more"),
    ("set_layout", "loose"),
    ("set_component_inline", "c", '{"variants": {}}'),
    ("set_component_inline", "c", "junk"),
    ("set_component_inline", "c", "[]"),
    ("set_component_inline", "d", '{"variants": {}, "q": 1}'),
    ("set_component_inline", "d", "{}"),
    ("set_variant", "c", "v", '{"ep": "CPUExecutionProvider"}'),
    ("set_variant", "c", "w", '{"variant_directory": "nowhere"}'),
    ("set_variant", "zz", "w", "{}"),
    ("get_component_json", "c"),
    ("get_variant_json", "c", "v"),
    ("set_variant_executor_info_inline", "c", "v", "ort", '{"model_file": "model.onnx"}'),
    ("set_variant_executor_info_inline", "c", "v", "ort", "[]"),
    ("set_variant_executor_info_external", "c", "v", "other", "x.json"),
    ("remove_variant_executor_info", "c", "v", "other"),
    ("remove_variant_executor_info", "c", "v", "zz"),
    ("set_additional_metadata_json", "manifest", None, None, '{"a": 1}'),
    ("get_info",),
    ("set_additional_metadata_json", "manifest", None, None, None),
    ("set_additional_metadata_json", "component", "c", None, "[1, 2]"),
    ("set_additional_metadata_json", "variant", "c", "v", '"text"'),
    ("set_additional_metadata_json", "variant", "c", "v", None),
    ("set_additional_metadata_json", "manifest", "c", None, "1"),
    ("set_additional_metadata_json", "component", "c", "v", "1"),
    ("set_additional_metadata_json", "package", None, None, "1"),
    ("compute_directory_hash", "asset"),
    ("add_shared_asset", "asset"),
    ("add_shared_asset", "asset", "sha256:00"),
    ("add_shared_asset", "asset", None, False),
    ("add_shared_asset", "nowhere"),
    ("resolve_asset_uri", "sha256:00"),
    ("resolve_string_ref", "x/y"),
    ("resolve_string_ref", "x/y", None, True),
    ("resolve_string_ref", "../y"),
    ("resolve_string_ref", "/y"),
    ("get_info",),
    ("commit",),
    ("commit", "asset"),
    ("commit", "asset/a.txt"),
    ("commit", "written"),
    ("get_info",),
    ("resolve_string_ref", "x/y"),
    ("resolve_string_ref", "y", "/"),
    ("set_component_external", "e", "ext"),
    ("set_component_external", "f", "nowhere"),
    ("set_variant", "e", "v2", "{}"),
    ("get_info",),
    ("commit",),
    ("remove_variant", "e", "v"),
    ("remove_variant", "e", "zz"),
    ("remove_component", "zz"),
    ("commit",),
    ("prune",),
    ("get_info",),
    ("close",),
    ("get_info",),
    ("close",),
]


def test_every_step_of_making_a_package(tmp_path: Path) -> None:
    """Both make the same package, step by step, and leave the same files."""

    def made(module: ModuleType) -> tuple[list[Any], dict[str, str]]:
        folder = tmp_path / module.__name__
        shutil.copytree(tmp_path / "asset", folder / "asset")
        os.chdir(folder)
        package = module.ModelPackage()
        where = next(index for index, call in enumerate(CALLS) if call == ("commit", "written")) + 1
        seen = attempts(package, CALLS[:where])
        Path("written/ext/v").mkdir(parents=True)
        Path("written/ext/component.json").write_text(
            json.dumps({"variants": {"v": {"ep": "CPUExecutionProvider", "executor_info": {"ort": "o.json"}}}})
        )
        Path("written/ext/v/o.json").write_text('{"model_file": "m.onnx"}')
        seen += attempts(package, CALLS[where:])
        files = {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}
        described = json.loads(json.dumps(seen).replace(str(folder), "HERE"))
        return described, {name: json.loads(text) if name.endswith(".json") else text for name, text in files.items()}

    theirs, their_files = made(ort)
    ours, our_files = made(onnxgpu)
    for expected, actual in zip(theirs, ours, strict=True):
        assert actual == expected
    assert our_files == their_files


def test_metadata_of_the_manifest_stay() -> None:
    package = onnxgpu.ModelPackage()
    package.set_additional_metadata_json("manifest", json='{"a": 1}')
    package.commit("pk")
    package.commit()
    for module in (ort, onnxgpu):
        assert module.ModelPackage.open("pk").get_info()["additional_metadata_json"] == '{"a":1}'


def test_dense_packages_have_everything_in_the_manifest() -> None:
    body = {"variants": {"v": RUNS, "w": {**RUNS, "ep": "CUDAExecutionProvider", "variant_directory": "other"}}}
    write_package({"schema_version": "1.0", "components": {"c": "c"}}, {"c": body}, ("c/v/model.onnx", "c/other/model.onnx"))
    package = onnxgpu.ModelPackage.open("pk")
    package.commit("dense", onnxgpu.ModelPackageWriteMode.DENSE)
    assert isinstance(json.loads(Path("dense/manifest.json").read_text())["components"]["c"], dict)
    shutil.rmtree("pk")
    Path("dense").rename("pk")
    for module in (ort, onnxgpu):
        assert chosen(module)[:2] == ["v", "pk/c/v"]


def test_external_information_cannot_be_dense() -> None:
    body = {"variants": {"v": {"executor_info": {"ort": "info.json"}}}}
    write_package({"schema_version": "1.0", "components": {"c": "c"}}, {"c": body}, ("c/v/model.onnx",))
    Path("pk/c/v/info.json").write_text("{}")
    assert_alike(lambda module: module.ModelPackage.open("pk").commit(f"dense_{module.__name__}", module.ModelPackageWriteMode.DENSE))


@pytest.mark.parametrize("writer", [ort, onnxgpu], ids=["theirs", "ours"])
def test_shared_assets_hold_weights(writer: ModuleType) -> None:
    """A variant's external data lie in a shared asset; its session finds them, with options of its own or given ones."""
    weights = np.array([3, 5], np.float32)
    Path("asset/w.bin").write_bytes(weights.tobytes())
    proto = model("g (float[2] x) => (float[2] y) <float[2] w = {0, 0}> { y = Add (x, w) }")
    tensor = proto.graph.initializer[0]
    for field in ("float_data", "raw_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    package = writer.ModelPackage()
    uri = package.add_shared_asset("asset")
    package.set_component_inline("c", '{"variants": {}}')
    package.set_variant("c", "v", '{"ep": "CPUExecutionProvider"}')
    entries = {"session.model_external_initializers_file_folder_path": uri}
    package.set_variant_executor_info_inline("c", "v", "ort", json.dumps({"model_file": "m.onnx", "session_options": entries}))
    package.commit("pk")
    Path("pk/v").mkdir()
    Path("pk/v/m.onnx").write_bytes(proto.SerializeToString())
    for module in (ort, onnxgpu):
        component = module.ModelPackageContext("pk").select_component("c", module.ModelPackageOptions(module.SessionOptions()))
        for options in (None, module.SessionOptions()):
            np.testing.assert_array_equal(component.create_session(options).run(None, {"x": X})[0], X + weights)


def test_a_later_provider_has_a_variant() -> None:
    """onnxruntime asks only the first provider."""
    write_package({"schema_version": "1.0", "components": {"c": {"variants": {"v": RUNS}}}}, None, ("v/model.onnx",))
    options = onnxgpu.SessionOptions()
    options.add_provider("LoopbackExecutionProvider", {})
    options.add_provider("CPUExecutionProvider", {})
    component = onnxgpu.ModelPackageContext("pk").select_component("c", onnxgpu.ModelPackageOptions(options))
    assert component.get_selected_variant_name() == "v"
    with pytest.raises(TypeError, match="SessionOptions"):
        onnxgpu.ModelPackageOptions(None)  # type: ignore[arg-type]


def test_nothing_outside_of_the_package_is_deleted() -> None:
    write_package({"schema_version": "1.0", "components": {}})
    Path("kept").mkdir()
    package = onnxgpu.ModelPackage.open("pk")
    package.remove_shared_asset("../../kept")
    package.remove_shared_asset("sha256:/../../kept")
    package.prune()
    assert Path("kept").is_dir()


def test_links_out_of_the_package_are_refused() -> None:
    write_package({"schema_version": "1.0", "components": {"c": {"variants": {"v": RUNS}}}})
    Path("outside").mkdir()
    onnx.save(model(NEG), "outside/model.onnx")
    Path("pk/v").symlink_to("../outside")
    with pytest.raises(RuntimeError, match="escapes package_root"):
        onnxgpu.ModelPackageContext("pk")
    assert onnxgpu.ModelPackage.open("pk", follow_symlinks=False).get_info()["components"][0]["name"] == "c"
    assert onnxgpu.ModelPackage.open("pk", allow_external_paths=True).get_info()["components"][0]["name"] == "c"
    Path("asset/link").symlink_to("a.txt")
    assert_alike(lambda module: module.ModelPackage.compute_directory_hash("asset"))


def test_assets_stay_inside_of_theirs() -> None:
    package = onnxgpu.ModelPackage()
    uri = package.add_shared_asset("asset")
    for text in (f"{uri}/../../x", f"{uri}//x"):
        with pytest.raises(ValueError, match="not allowed"):
            package.resolve_string_ref(text)
