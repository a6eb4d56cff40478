"""Which of cuDNN's plans a graph runs by: the first that a heuristic names, or the fastest of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from onnxgpu.log import logger
from onnxgpu.providers.cuda.libraries.kernel import NotCovered

SEARCHES = ("DEFAULT", "HEURISTIC", "EXHAUSTIVE")
"""Values of `cudnn_conv_algo_search`; the first two are the same here."""


class Problem(Protocol):
    """What a graph computes; equal ones have equal graphs."""

    @property
    def dtype(self) -> str:
        """ONNX's name of the element type."""

    @property
    def tf32(self) -> bool:
        """Whether float32 may be rounded to TF32."""

    def describe(self, cudnn: Any, graph: Any) -> None:
        """Put it into `graph`, an empty `cudnn.pygraph` that computes in float32."""

    def tensor_bytes(self) -> dict[int, int]:
        """Number of each tensor of the graph → its size."""


Attempt = Callable[[Any, int], float]
"""Runs the plan of a graph with this index, and gives the milliseconds it takes."""


def build(module: Any, graph: Any, problem: Problem, *, fallback: bool = False) -> None:
    """Build the first plan of a heuristic's list (mode A) that keeps float32's precision, where that is asked for.

    Args:
        module: `cudnn`.
        graph: described, and nothing else.
        problem: what it computes.
        fallback: take the list of generic kernels, which have most shapes and none of them fast.

    Raises:
        NotCovered: the list has none.
    """
    modes = module.heur_mode
    try:
        _list_plans(module, graph, problem, [modes.FALLBACK if fallback else modes.A])
        graph.check_support()
        graph.build_plans()
    except module.cudnnGraphNotSupportedError as error:
        raise NotCovered(f"cuDNN has no plan for it ({str(error)[:200]})") from None


def build_fastest(module: Any, graphs: Callable[[], Any], problem: Problem, attempt: Attempt) -> Any:
    """A graph with the fastest plan built, among those of heuristics A and B and the generic ones.

    Args:
        module: `cudnn`.
        graphs: gives another graph, described, each time.
        problem: what they compute.
        attempt: times a plan.

    Raises:
        NotCovered: neither heuristic has a plan.
    """
    modes = module.heur_mode
    best: tuple[float, Any, int, str] | None = None
    seen: set[str] = set()
    for names in ([modes.A, modes.B], [modes.FALLBACK]):
        graph = graphs()
        for index, name in _built(module, graph, problem, names, seen):
            try:
                taken = attempt(graph, index)
            except Exception as error:  # of a class of the front end's, or of CuPy's for its workspace: there are other plans
                logger.info("the cuDNN plan %s is left out: %s", name, error)
                continue
            if best is None or taken < best[0]:
                best = taken, graph, index, name
        if best is None:
            raise NotCovered("cuDNN's heuristics have no plan for it")
    assert best is not None
    taken, graph, index, name = best
    logger.info("of %d cuDNN plans %s is the fastest: %.4f ms", len(seen), name, taken)
    graph.build_plan_at_index(index)  # which selects it
    return graph


def _built(module: Any, graph: Any, problem: Problem, modes: list[Any], seen: set[str]) -> Iterator[tuple[int, str]]:
    """Build one plan after the other, without those that were seen, and give their indices and names."""
    try:
        _list_plans(module, graph, problem, modes)
    except module.cudnnGraphNotSupportedError:
        return
    for index in range(graph.get_execution_plan_count()):
        name = graph.get_plan_name_at_index(index)
        if name in seen:
            continue
        try:
            graph.build_plan_at_index(index)
        except module.cudnnGraphNotSupportedError:
            continue
        seen.add(name)
        yield index, name


def _list_plans(module: Any, graph: Any, problem: Problem, modes: list[Any]) -> None:
    notes = module.numerical_note
    unwanted = [notes.NONDETERMINISTIC, notes.REDUCED_PRECISION_REDUCTION]
    if problem.dtype == "float" and not problem.tf32:
        unwanted += [notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS]
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans(modes)
    graph.deselect_numeric_notes(unwanted)
