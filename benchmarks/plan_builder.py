"""The other process of `cudnn_plans.py`: build each graph that it is asked for, and append what came of it to a file, a line each.

Needs NumPy, the front end of cuDNN and cuDNN; not onnx, and no GPU.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from onnxgpu.providers.cuda.libraries.graphs import Plans, empty_graph
from onnxgpu.providers.cuda.libraries.kernel import NotCovered
from onnxgpu.providers.cuda.libraries.plan_search import Problem, build


def built(module: Any, properties: Any, request: Sequence[Problem]) -> dict[str, Any]:
    """What became of one request.

    Args:
        module: `cudnn`.
        properties: of the device that the plan is for.
        request: what the graph computes, then what may take its place.

    Returns:
        `outcome`: `built`, `none` or `failed`; `reason` of the last two; of a plan `form` (which of the request it is for), `generic`
        (whether the heuristic had none) and `workspace` (bytes).
    """

    def make(problem: Problem, fallback: bool) -> Any:
        generic.append(fallback)
        graph = empty_graph(module, device_property=properties)
        problem.describe(module, graph)
        build(module, graph, problem, fallback=fallback)
        return graph

    generic: list[bool] = []
    try:
        graph, planned = Plans(make).first(request)
        workspace = int(graph.get_workspace_size())  # type: ignore[attr-defined]
    except NotCovered as error:
        return {"outcome": "none", "reason": str(error)}
    except Exception as error:  # of any class of the front end's: the next request is built all the same
        return {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"[:400]}
    return {"outcome": "built", "form": list(request).index(planned), "generic": generic[-1], "workspace": workspace}


def main() -> None:
    """Build what the pickled task `argv[1]` holds, from request `argv[3]` on, and append the results to `argv[2]`."""
    import cudnn

    task = pickle.loads(Path(sys.argv[1]).read_bytes())
    properties = cudnn.create_device_properties(json.dumps(task["properties"]))
    with Path(sys.argv[2]).open("a") as results:
        for request in task["requests"][int(sys.argv[3]) :]:
            print(json.dumps(built(cudnn, properties, request)), file=results, flush=True)


if __name__ == "__main__":
    main()
