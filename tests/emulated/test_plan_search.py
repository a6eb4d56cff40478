"""Which of cuDNN's plans is taken, with plans and a clock that are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onnxgpu.errors import InvalidArgument
from onnxgpu.providers.cuda.libraries import graphs
from onnxgpu.providers.cuda.libraries.convolution_graphs import Convolution
from onnxgpu.providers.cuda.libraries.found import Found
from onnxgpu.providers.cuda.libraries.kernel import NotCovered
from onnxgpu.providers.cuda.libraries.plan_search import build, build_fastest
from onnxgpu.providers.cuda.libraries.selection import Selection

CONVOLUTION = Convolution("float", (1, 3, 5, 5), (4, 3, 3, 3), (1, 4, 3, 3), (0, 0), (0, 0), (1, 1), (1, 1))
MILLISECONDS = {"slow": 3.0, "quick": 1.0, "quickest": 0.5, "generic": 2.0}


class NotSupported(Exception):
    """cuDNN's."""


class Module:
    """What of the module `cudnn` chooses a plan: heuristics give names of plans, of which those with "no" cannot be built."""

    __version__ = "1.22.0"
    heur_mode = SimpleNamespace(A="A", B="B", FALLBACK="FALLBACK")
    numerical_note = SimpleNamespace(NONDETERMINISTIC=0, REDUCED_PRECISION_REDUCTION=1, TENSOR_CORE=2, DOWN_CONVERT_INPUTS=3)
    data_type = SimpleNamespace(FLOAT=0)
    cudnnGraphNotSupportedError = NotSupported

    def __init__(self, **lists: Sequence[str]) -> None:
        self.lists = lists
        self.ran: list[str] = []

    def pygraph(self, **place: Any) -> Graph:
        return Graph(self)

    def create_handle(self) -> object:
        return self

    def set_stream(self, handle: object, stream: int) -> None:
        assert handle is self


class Graph:
    """A graph of that module."""

    def __init__(self, module: Module) -> None:
        self._module, self._names, self.selected = module, list[str](), ""

    def validate(self) -> None: ...

    def build_operation_graph(self) -> None: ...

    def create_execution_plans(self, modes: Sequence[str]) -> None:
        self._names = [name for mode in modes for name in self._module.lists.get(mode, ())]
        if not self._names:
            raise NotSupported(f"no plan by {modes}")

    def deselect_numeric_notes(self, notes: Sequence[int]) -> None:
        assert len(notes) == 4

    def check_support(self) -> None: ...

    def build_plans(self) -> None:
        buildable = [index for index, name in enumerate(self._names) if not name.startswith("no")]
        if not buildable:
            raise NotSupported("none can be built")
        self.build_plan_at_index(buildable[0])

    def get_execution_plan_count(self) -> int:
        return len(self._names)

    def get_plan_name_at_index(self, index: int) -> str:
        return self._names[index]

    def build_plan_at_index(self, index: int) -> None:
        if self._names[index].startswith("no"):
            raise NotSupported(self._names[index])
        self.selected = self._names[index]

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return 100

    def get_workspace_size(self) -> int:
        return 100

    def execute_plan_at_index(self, addresses: dict[int, int], workspace: int, index: int, handle: object) -> None:
        assert set(addresses) == {1, 2, 5} and workspace % 256 == 0
        if "broken" in self._names[index]:
            raise RuntimeError("it does not run")
        self._module.ran.append(self._names[index])

    def execute(self, addresses: dict[int, int], workspace: int, handle: object) -> None:
        self._module.ran.append(self.selected)

    def serialize(self) -> list[int]:
        return list(self.selected.encode())

    def deserialize(self, handle: object, content: list[int]) -> None:
        self.selected = bytes(content).decode()


def fastest(module: Module) -> tuple[str, list[str]]:
    """The plan that is taken, and those that were timed."""
    timed: list[str] = []

    def attempt(graph: Graph, index: int) -> float:
        timed.append(graph.get_plan_name_at_index(index))
        return MILLISECONDS[timed[-1]]

    return build_fastest(module, lambda: Graph(module), CONVOLUTION, attempt).selected, timed


def test_the_fastest_of_all_lists() -> None:
    module = Module(A=["slow", "no 1", "quick"], B=["quick", "quickest"], FALLBACK=["generic", "slow"])
    assert fastest(module) == ("quickest", ["slow", "quick", "quickest", "generic"])


def test_a_generic_plan_may_be_the_fastest() -> None:
    assert fastest(Module(A=["slow"], FALLBACK=["generic"])) == ("generic", ["slow", "generic"])


@pytest.mark.parametrize("lists", [{"FALLBACK": ["generic"]}, {"A": ["no 1"], "FALLBACK": ["generic"]}])
def test_generic_plans_alone_are_not_enough(lists: dict[str, list[str]]) -> None:
    """The same convolution without what follows it may have better ones."""
    with pytest.raises(NotCovered):
        fastest(Module(**lists))
    with pytest.raises(NotCovered):
        build(Module(**lists), Graph(Module(**lists)), CONVOLUTION)


def test_without_timing_the_first_of_the_heuristic() -> None:
    module = Module(A=["no 1", "slow", "quick"], B=["quickest"], FALLBACK=["generic"])
    graph = Graph(module)
    build(module, graph, CONVOLUTION)
    assert graph.selected == "slow"
    graph = Graph(module)
    build(module, graph, CONVOLUTION, fallback=True)
    assert graph.selected == "generic"


@pytest.mark.usefixtures("device")
class TestBackend:
    def made(
        self, module: Module, monkeypatch: pytest.MonkeyPatch, folder: Path, *, is_exhaustive: bool
    ) -> tuple[graphs.Backend, list[str]]:
        """A back end, and the plans that it has timed."""
        timed: list[str] = []

        def time(run: Callable[[], None]) -> float:
            run()
            timed.append(module.ran[-1])
            return MILLISECONDS[timed[-1]]

        monkeypatch.setenv("ONNXGPU_CACHE", str(folder))
        monkeypatch.setattr(graphs, "cudnn", lambda: Found("cuDNN", None, module, "9.0.0"))
        monkeypatch.setattr(Convolution, "describe", lambda convolution, module, graph: None)
        monkeypatch.setattr(Graph, "__repr__", lambda graph: "a graph")
        return graphs.Backend(0, is_exhaustive=is_exhaustive, time=time), timed

    def test_the_fastest_is_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        module = Module(A=["slow", "broken", "quick"], FALLBACK=["generic"])
        backend, timed = self.made(module, monkeypatch, tmp_path, is_exhaustive=True)
        backend.plan(CONVOLUTION, False).run({}, 0, 0)
        assert (module.ran[-1], timed) == ("quick", ["slow", "quick", "generic"])
        again, timed = self.made(module, monkeypatch, tmp_path, is_exhaustive=True)
        again.plan(CONVOLUTION, False).run({}, 0, 0)
        assert (module.ran[-1], timed) == ("quick", [])

    def test_both_searches_keep_their_plans(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        module = Module(A=["slow", "quick"], FALLBACK=["generic"])
        for is_exhaustive, expected in ((True, "quick"), (False, "slow"), (True, "quick")):
            backend, _ = self.made(module, monkeypatch, tmp_path, is_exhaustive=is_exhaustive)
            backend.plan(CONVOLUTION, False).run({}, 0, 0)
            assert module.ran[-1] == expected
        backend.plan(CONVOLUTION, True).run({}, 0, 0)
        assert module.ran[-1] == "generic"

    def test_a_search_that_there_is_not(self, cp: Any) -> None:
        with pytest.raises(InvalidArgument, match="'cudnn_conv_algo_search' is DEFAULT or HEURISTIC or EXHAUSTIVE, got 'FAST'"):
            Selection(cp, 0, {"cudnn_conv_algo_search": "FAST"})


def test_good_plans_stand_before_generic_ones() -> None:
    """A convolution alone that a heuristic names before one with all that follows."""
    made: list[tuple[str, bool]] = []

    def make(convolution: Any, fallback: bool) -> Any:
        made.append((convolution.activation, fallback))
        if convolution.activation and not fallback:
            raise NotCovered("no")
        return SimpleNamespace()

    bare, fused = CONVOLUTION, replace(CONVOLUTION, has_bias=True, activation="Clip")
    _, chosen = graphs.Plans(make).first((fused, bare))
    assert chosen is bare and made == [("Clip", False), ("", False)]
