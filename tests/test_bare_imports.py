"""Modules that are imported without their packages, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

BARE = "import sys; from onnxgpu.bare_imports import import_bare; found = import_bare({name!r})\n"
MODULES = {
    "nvmath.bindings.cublasLt": ("nvmath.bindings.cufft", "cuda.core"),
    "openvino._pyopenvino": ("openvino.tools", "openvino_telemetry"),
}
"""Each with others that its package would import."""


def run(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=MODULES)
def name(request: pytest.FixtureRequest) -> str:
    if find_spec(request.param.partition(".")[0]) is None:
        pytest.skip("not installed")
    return str(request.param)


def test_nothing_else_of_the_package_is_imported(name: str) -> None:
    others = (name.partition(".")[0], *MODULES[name])
    assert run(BARE.format(name=name) + f"print(found.__name__, *(other in sys.modules for other in {others}))").split() == [
        name, "False", "False", "False",
    ]  # fmt: skip


def test_a_program_that_imports_it_later_has_all_of_it(name: str) -> None:
    package, _, module = name.rpartition(".")
    text = f"from {package} import {module} as it\nimport {name} as again\n"
    text += f"print(it is found, again is found, {MODULES[name][0]!r} in sys.modules)"
    assert run(BARE.format(name=name) + text).split() == ["True", "True", "True"]


def test_a_program_that_has_imported_it(name: str) -> None:
    assert run(f"import {name} as first\n" + BARE.format(name=name) + "print(found is first)") == "True\n"


def test_a_module_that_needs_its_package(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What it needs of it fails once, and then the package is imported."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "demanding").mkdir()
    (folder / "demanding" / "__init__.py").write_text("needed = 7\n")
    (folder / "demanding" / "part.py").write_text("import demanding\nvalue = demanding.needed\n")
    assert run(f"import sys; sys.path.append({str(folder)!r})\n" + BARE.format(name="demanding.part") + "print(found.value)") == "7\n"


def test_it_is_not_there() -> None:
    text = "try:\n    import_bare('not_there.at_all')\nexcept ImportError as error:\n    print(error)"
    assert run("from onnxgpu.bare_imports import import_bare\n" + text) == "No module named 'not_there'\n"
