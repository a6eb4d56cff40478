"""Which implementation runs an operation: the first library that is switched on and has it, else our own kernel; with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from onnxgpu.errors import EPFail, InvalidArgument
from onnxgpu.log import logger
from onnxgpu.operators import Registry
from onnxgpu.provider import Claim, Kernel, Operation
from onnxgpu.providers.cuda.libraries import (
    attention_products,
    convolution_products,
    convolutions,
    cublas,
    found,
    fused_attention,
    graphs,
    own_convolutions,
    products,
    recurrent,
)
from onnxgpu.providers.cuda.libraries.found import Found
from onnxgpu.providers.cuda.libraries.kernel import Context, LibraryKernel
from onnxgpu.providers.cuda.libraries.plan_search import SEARCHES


@dataclass(frozen=True)
class _Library:
    """A library's operators, and what its kernels are made with.

    Attributes:
        option: switches it off; None for our own kernels where they come first.
        found: looks for it, once a process.
        registry: its operators.
        context: what `registry.claim` takes for the array module.
    """

    option: str | None
    found: Callable[[], Found]
    registry: Registry
    context: Any


class Selection:
    """The choice for one session.

    Args:
        xp: `cupy`.
        device: the device's number.
        options: of the provider, of the declared types.

    Raises:
        InvalidArgument: an option has a value that it does not take.
    """

    def __init__(self, xp: Any, device: int, options: Mapping[str, Any]) -> None:
        self._options = options
        search = str(options.get("cudnn_conv_algo_search", "HEURISTIC"))
        if search not in SEARCHES:
            raise InvalidArgument(f"option 'cudnn_conv_algo_search' is {' or '.join(SEARCHES)}, got {search!r}")
        tf32 = bool(options.get("use_tf32", False))
        capability = int(xp.cuda.Device(device).compute_capability)
        products_of = Context(xp, partial(cublas.plans, device), tf32)
        faster = own_convolutions.registry_for(capability, tf32)
        own = (_Library(None, lambda: own_convolutions.OURS, faster, xp),) if self._is_free_to_choose else ()
        self._all = (
            *own,
            _Library("enable_cublas", found.cublas_lt, products.REGISTRY, products_of),
            _Library("enable_cublas", found.cublas_lt, convolution_products.registry_for(capability, tf32), products_of),
            _Library("enable_cublas", found.cublas_lt, recurrent.REGISTRY, products_of),
            _Library("enable_cudnn", found.cudnn, fused_attention.REGISTRY, Context(xp, partial(graphs.plans, device), tf32)),
            _Library("enable_cublas", found.cublas_lt, attention_products.REGISTRY, products_of),
            _Library("enable_cudnn", found.cudnn, convolutions.REGISTRY, Context(xp, partial(graphs.plans, device, search), tf32)),
        )

    def preferred(self, operation: Operation, own: Claim) -> Claim:
        """The first library's claim, with the next ones' and our own kernel behind it for shapes that it does not have; else `own`.

        With the reasons why it is not another that stands before it.
        """
        claims: list[Claim] = []
        reasons: list[str] = []
        chosen = ""
        for library in self._all:
            if not library.registry.has(operation.operator, operation.domain):
                continue
            missing = self._missing[library.option]
            if missing is not None:
                reasons.append(missing)
                continue
            answer = library.registry.claim(library.context, operation)
            name = library.found()
            if isinstance(answer, Claim):
                claims.append(answer)
                chosen = chosen or "; ".join((f"by {name.name} {name.version}".rstrip(), *reasons))
            elif library.option is not None:
                reasons.append(f"{name.name} does not run it ({answer.reason})")
        if not claims:
            return replace(own, note=f"by onnxgpu's own kernel: {'; '.join(reasons)}") if reasons else own
        build = own.build
        for claim in reversed(claims):
            build = partial(_behind, claim.build, build, operation)
        return replace(own, note=chosen, build=build)

    @property
    def _is_free_to_choose(self) -> bool:
        """True unless the options ask for a library, which is then used wherever it can be, or for none."""
        wanted = [self._options.get(option) for option in ("enable_cublas", "enable_cudnn")]
        return True not in wanted and wanted != [False, False]

    @cached_property
    def _missing(self) -> dict[str | None, str | None]:
        """Option → why its library is not used."""
        return {library.option: self._unused(library) for library in self._all}

    def _unused(self, library: _Library) -> str | None:
        """Why `library` is not used; an absent one is a warning, or an error if it was asked for.

        Raises:
            EPFail: the option says that it is to be used, and it cannot be.
        """
        if library.option is None:
            return None
        wanted = self._options.get(library.option)
        if wanted is False:
            return f"{library.option} is off"
        state = library.found()
        if state.problem is None:
            return None
        if wanted:
            raise EPFail(f"option {library.option!r} asks for {state.name}: {state.problem}, or leave the option out")
        _tell_once(state, library.option)
        return f"{state.name}: {state.problem}"


_told: set[str] = set()


def _tell_once(state: Found, option: str) -> None:
    if state.name not in _told:
        _told.add(state.name)
        logger.warning(
            "%s is not used: %s. onnxgpu's own kernels run in its place, some of them slower; %s=0 says that this is meant",
            state.name, state.problem, option,
        )  # fmt: skip


def _behind(first: Callable[[], Kernel], next_one: Callable[[], Kernel], operation: Operation) -> Kernel:
    return LibraryKernel(first(), next_one, operation)
