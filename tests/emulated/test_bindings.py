"""How the bindings of one of NVIDIA's libraries are imported, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("nvmath") is None, reason="nvmath is not installed")


def run(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


BINDINGS = "import sys; from onnxgpu.providers.cuda.libraries.bindings import bindings; found = bindings('cublasLt')\n"


def test_nothing_else_of_the_package_is_imported() -> None:
    said = run(
        BINDINGS + "print(found.__name__, 'nvmath' in sys.modules, 'nvmath.bindings.cufft' in sys.modules, 'cuda.core' in sys.modules)"
    )
    assert said.split() == ["nvmath.bindings.cublasLt", "False", "False", "False"]


def test_a_program_that_imports_it_later_has_all_of_it() -> None:
    said = run(
        BINDINGS + "import nvmath, nvmath.bindings.cublasLt as a\nfrom nvmath.bindings import cublasLt as b\nimport nvmath.linalg\n"
        "print(a is found, b is found, nvmath.bindings.cublasLt is found, nvmath.linalg.__name__, nvmath.__version__ != '')"
    )
    assert said.split() == ["True", "True", "True", "nvmath.linalg", "True"]


def test_a_program_that_has_imported_it() -> None:
    assert run("import nvmath\n" + BINDINGS + "print(found is nvmath.bindings.cublasLt)") == "True\n"


def test_a_release_whose_modules_need_their_packages() -> None:
    """What they need of them fails once, and then the packages are imported."""
    text = """
import importlib.util, sys
import onnxgpu.providers.cuda.libraries.bindings as module
real, tried = importlib.import_module, []
def refuse(name):
    tried.append((name, hasattr(sys.modules.get("nvmath"), "__version__")))
    if len(tried) == 1:
        raise AttributeError("module 'nvmath' has no attribute 'memory'")
    return real(name)
module.import_module = refuse
found = module.bindings("cublasLt")
import nvmath
print(len(tried), found is nvmath.bindings.cublasLt)
"""
    assert run(text) == "2 True\n"


def test_it_is_not_there() -> None:
    said = run(
        "import sys; sys.meta_path.insert(0, type('None_', (), {'find_spec': lambda self, name, *_: "
        "(_ for _ in ()).throw(ModuleNotFoundError(name)) if name.startswith('nvmath') else None})())\n"
        "from onnxgpu.providers.cuda.libraries.bindings import bindings\n"
        "try:\n    bindings('cublasLt')\nexcept ImportError as error:\n    print('ImportError', error)"
    )
    assert said.startswith("ImportError nvmath")
