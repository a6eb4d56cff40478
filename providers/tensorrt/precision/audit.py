"""The numeric audit: where a small type goes wrong on samples, and which nodes have to stay in float32 so that it does not.

The model runs in float32 and in the small type with every value in sight. If an output differs by more than the bound, nodes are put
into an order: first those that read or give what the small type cannot hold, then those behind which the error grows the most. The
fewest of that order that meet the bound are found by doubling and halving; then each that can be left out again is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnxgpu.errors import InvalidArgument
from onnxgpu.model_file.operation_proto import CutModel
from onnxgpu.providers.tensorrt.precision.audit_report import AuditReport, NodeAudit
from onnxgpu.providers.tensorrt.precision.constants import largest_finite
from onnxgpu.providers.tensorrt.precision.masks import with_finite_masks
from onnxgpu.providers.tensorrt.precision.observe import Feeds, Range, error_between, floats_of, outputs_of, range_of
from onnxgpu.providers.tensorrt.precision.reduce import reduced
from onnxgpu.providers.tensorrt.precision.report import PrecisionReport
from onnxgpu.providers.tensorrt.precision.settings import PrecisionSettings
from onnxgpu.providers.tensorrt.precision.view import View, label_of, view_of

BOUNDS = {"float16": 1e-2, "bfloat16": 5e-2}
"""The default bounds: a few dozen roundings of 11 and of 8 bits."""

MOST_RUNS = 64
CPU = ("CPUExecutionProvider",)


def audit(
    model: CutModel,
    samples: Sequence[Feeds],
    settings: PrecisionSettings,
    *,
    bound: float | None = None,
    providers: Sequence[str] = CPU,
    most_runs: int = MOST_RUNS,
) -> AuditReport:
    """Which nodes have to stay in float32 beside those that the rules keep there.

    Args:
        model: of a segment, or of `whole_model.cut_of`; up to 2 GB with its weights.
        samples: inputs that show what the model will be given, at least one.
        settings: with one small type; its lists hold as they are.
        bound: the largest difference of an output, relative to its largest element; None: as `BOUNDS` says.
        providers: of the sessions that run the model; products of theirs must add in float32.
        most_runs: so many versions of the model are tried, at most.

    Raises:
        InvalidArgument: there is no sample, not exactly one small type, or the samples give no finite output even in float32.
    """
    if not samples:
        raise InvalidArgument("an audit wants samples: give at least one set of inputs")
    if len(settings.types) != 1:
        raise InvalidArgument(f"an audit is of one small type, float16 or bfloat16, and {len(settings.types)} were asked for")
    search = _Search(model, samples, settings, BOUNDS[settings.types[0]] if bound is None else bound, providers, most_runs)
    return search.report()


@dataclass(frozen=True)
class _Trial:
    """One version of the model: what it computes in, and how far its outputs are off."""

    report: PrecisionReport
    model: CutModel
    error: float


@dataclass
class _Search:
    model: CutModel
    samples: Sequence[Feeds]
    settings: PrecisionSettings
    bound: float
    providers: Sequence[str]
    most_runs: int
    runs: int = 0
    _wanted: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._small = self.settings.types[0]
        self._masked, _ = with_finite_masks(view_of(self.model), self._small)
        self._view = view_of(self._masked)
        self._wanted = [outputs_of(self.model, feeds, self.providers) for feeds in self.samples]
        floats = [output for outputs in self._wanted for output in outputs if isinstance(output, np.ndarray) and output.dtype.kind == "f"]
        if floats and not any(np.isfinite(output).any() for output in floats):
            raise InvalidArgument("the samples give no finite output even in float32, so nothing can be compared: give other samples")

    def report(self) -> AuditReport:
        first = self._tried({})
        ranges, before = self._observed(first)
        order = self._order(first, ranges, before)
        kept, last = ({}, first) if first.error <= self.bound else self._fewest(order)
        after = before if last is first else self._observed(last)[1]
        computes_in = {node.name: node for node in last.report.nodes}
        rows = []
        for node in self._view.nodes:
            names = [name for name in node.output if name in ranges]
            if names:
                held = computes_in[label_of(node)]
                row = NodeAudit(
                    label_of(node), node.op_type, min(ranges[n].lowest for n in names), max(ranges[n].highest for n in names),
                    _worst(before, names), _worst(after, names), held.computes_in, held.reason,
                )  # fmt: skip
                rows.append(row)
        return AuditReport(self._small, self.bound, first.error, last.error, self.runs, tuple(rows), kept)

    def _tried(self, kept: Mapping[str, str]) -> _Trial:
        self.runs += 1
        model, report = reduced(self.model, replace(self.settings, float32_nodes={**kept, **self.settings.float32_nodes}))
        worst = 0.0
        for feeds, wanted in zip(self.samples, self._wanted, strict=True):
            got = outputs_of(model, feeds, self.providers)
            worst = max(worst, *(_difference(a, b) for a, b in zip(wanted, got, strict=True)))
        return _Trial(report, model, worst)

    def _observed(self, trial: _Trial) -> tuple[dict[str, Range], dict[str, float]]:
        """The range of each value in float32, and its error in the small type."""
        ranges: dict[str, Range] = {}
        errors: dict[str, float] = {}
        for feeds in self.samples:
            full = floats_of(self._masked, feeds, self.providers)
            small = floats_of(trial.model, feeds, self.providers, self._small)
            for name, array in full.items():
                seen = range_of(array)
                ranges[name] = ranges[name].joined(seen) if name in ranges else seen
                if name in small:
                    errors[name] = max(errors.get(name, 0.0), error_between(array, small[name]))
        return ranges, errors

    def _order(self, first: _Trial, ranges: Mapping[str, Range], errors: Mapping[str, float]) -> list[tuple[str, str]]:
        """The nodes that compute in the small type, those to keep in float32 first, each with the reason."""
        small = {node.name for node in first.report.nodes if node.computes_in == self._small}
        limit = largest_finite(self._small)
        order: list[tuple[float, str, str]] = []
        for index, node in enumerate(self._view.nodes):
            if label_of(node) not in small:
                continue
            beyond = [n for n in (*node.input, *node.output) if n in ranges and ranges[n].largest > limit]
            if beyond:
                order.append((float("inf"), label_of(node), f"'{beyond[0]}' reaches {ranges[beyond[0]].largest:.3g}, beyond {self._small}"))
                continue
            growth = max(
                _growth(self._view, index, errors), *(_growth(self._view, i, errors) / 2 for i, _, _ in self._view.followers(index)), 0
            )
            order.append((growth, label_of(node), f"the error of the outputs grows behind it, to {_worst(errors, node.output) or 0:.1e}"))
        return [(name, reason) for _, name, reason in sorted(order, key=lambda entry: -entry[0])]

    def _fewest(self, order: Sequence[tuple[str, str]]) -> tuple[dict[str, str], _Trial]:
        """A set of nodes that meets the bound, as small as the runs allow to find; all of them if none does."""
        enough, trial = self._prefix(order)
        kept = dict(order[:enough])
        if trial.error > self.bound:
            return kept, trial
        part = max(len(kept) // 2, 1)
        while part and self.runs < self.most_runs:
            names, start = list(kept), 0
            while start < len(names) and self.runs < self.most_runs:
                without = {name: kept[name] for name in kept if name not in names[start : start + part]}
                attempt = self._tried(without)
                if attempt.error <= self.bound:
                    kept, trial = without, attempt
                start += part
            part //= 2
        return kept, trial

    def _prefix(self, order: Sequence[tuple[str, str]]) -> tuple[int, _Trial]:
        """How many from the beginning of the order meet the bound; between a number that does not and one that does, by halving."""
        low, high = 0, 1
        trial = self._tried(dict(order[:high]))
        while trial.error > self.bound and high < len(order):
            low, high = high, min(2 * high, len(order))
            trial = self._tried(dict(order[:high]))
        while high - low > 1 and trial.error <= self.bound and self.runs < self.most_runs:
            middle = (low + high) // 2
            attempt = self._tried(dict(order[:middle]))
            if attempt.error <= self.bound:
                high, trial = middle, attempt
            else:
                low = middle
        return high, trial


def _growth(view: View, index: int, errors: Mapping[str, float]) -> float:
    """How much larger the error of the node's results is than that of what it reads; 0 if one that it reads is not finite already."""
    node = view.nodes[index]
    read, given = _worst(errors, node.input) or 0.0, _worst(errors, node.output) or 0.0
    return 0.0 if np.isinf(read) else given - read


def _worst(errors: Mapping[str, float], names: Sequence[str]) -> float | None:
    return max((errors[name] for name in names if name in errors), default=None)


def _difference(wanted: Any, got: Any) -> float:
    if not isinstance(wanted, np.ndarray) or wanted.dtype.kind != "f":
        return 0.0
    return error_between(wanted, np.asarray(got))
