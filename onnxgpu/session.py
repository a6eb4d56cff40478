"""InferenceSession: model file → graph → rewrite → partition → fuse → plan → run."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from onnxgpu import knobs
from onnxgpu.arguments import Arguments
from onnxgpu.base_session import Session
from onnxgpu.caller import warn
from onnxgpu.errors import Fail
from onnxgpu.feeds import memories_of
from onnxgpu.float_errors import quietly
from onnxgpu.loading import (
    context_request,
    disabled_rules,
    engine_files,
    evaluator,
    known_domains,
    loaded_for,
    may_compile,
    metadata_of,
    save_context_model,
    save_optimized,
)
from onnxgpu.log import logger, logging_as
from onnxgpu.options import RunOptions, SessionOptions
from onnxgpu.programs import Programs
from onnxgpu.provider_override import Requested
from onnxgpu.selection import Selection, requested_by, select
from onnxgpu.shown import shown
from onnxgpu.surroundings import Surroundings
from onnxgpu.warm_up import wants_warm_up, warm_up

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxgpu.execute import Program
    from onnxgpu.execute.loop import Observer
    from onnxgpu.loading import ModelSource
    from onnxgpu.partition import Placement
    from onnxgpu.plan import Plan
    from onnxgpu.plan.steps import Step
    from onnxgpu.profile import Recorder
    from onnxgpu.provider import Array, Provider
    from onnxgpu.rewrite import RewriteReport

_PROVIDERS_TWICE = (
    "Specified 'providers'/'provider_options' when creating InferenceSession but SessionOptions has already been configured with "
    "providers. InferenceSession will only use the providers passed to InferenceSession()."
)


class InferenceSession(Session):
    """A model, placed and planned, ready to run.

    A session can be pickled and copied: it is then made again, from the model's path (made absolute) or its bytes.

    Args:
        path_or_bytes: a model file, its bytes, or an `onnx.ModelProto`.
        sess_options: see `SessionOptions`.
        providers: names, or (name, options), in order of preference; None: those available that need not be named, the CPU last.
        provider_options: one mapping for each name in `providers`.

    Raises:
        OnnxGpuError: see `onnxgpu.errors` for the classes; a listed provider that is not available is a
            `ProviderFallbackWarning`, or an error in strict mode.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | onnx.ModelProto,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Requested] | None = None,
        provider_options: Sequence[Mapping[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(enable_fallback=int(kwargs.get("enable_fallback", 1)) == 1)
        options = SessionOptions() if sess_options is None else _checked_options(sess_options)
        self._options = options
        source = str(Path(path_or_bytes).absolute()) if isinstance(path_or_bytes, (str, os.PathLike)) else path_or_bytes
        self._made_of = source, options, providers, provider_options, kwargs
        self._surroundings = Surroundings(options)
        self._recorder = _recorder(self, options.profile_file_prefix) if options.enable_profiling else None
        self._profile_start = 0 if self._recorder is None else self._recorder.started_at
        start = perf_counter_ns()
        with logging_as(self._surroundings.scope):
            self._selection = self._selected(path_or_bytes, providers, provider_options)
        self._surroundings.prepare(self._selection.providers)
        with self._surroundings.entered():
            self._make(path_or_bytes, kwargs.get("disabled_optimizers") or ())
        if self._recorder is not None:
            self._recorder.stage("session_initialization", start)
        self._around = None if self._surroundings.are_plain else self._surroundings.entered
        self._is_plain = self._surroundings.are_threads and self._recorder is None
        if wants_warm_up(options.config_entries):
            self.warm_up()

    def _selected(
        self, source: ModelSource, providers: Sequence[Requested] | None, provider_options: Sequence[Mapping[Any, Any]] | None
    ) -> Selection:
        """The providers of this session: those that it was given, or else those of its options."""
        options = self._options
        listed = [providers] if isinstance(providers, str) else providers
        if listed and options.has_providers():
            warn(_PROVIDERS_TWICE, UserWarning)
        elif not listed:
            listed = requested_by(options, lambda: metadata_of(source, options)) or providers
        forbid_fallback = options.config_entries.get("session.disable_cpu_ep_fallback") == "1"
        strict = bool(knobs.STRICT()) or forbid_fallback or not self._enable_fallback
        return select(listed, provider_options, strict=strict, forbid_fallback=forbid_fallback)

    def _make(self, source: ModelSource, disabled: Sequence[str]) -> None:
        """File → graph → rewrite → partition → fuse → plan; stops between two stages if the load is canceled."""
        from onnxgpu.fuse import collapse, fuse
        from onnxgpu.model_file import infer_types, override_dimensions
        from onnxgpu.partition import parse_hints, partition
        from onnxgpu.plan import make_plan
        from onnxgpu.rewrite import rewrite

        options, chosen, proceed = self._options, self._selection.providers, self._options.check_load_not_canceled
        level = int(options.graph_optimization_level)
        proceed()
        start = perf_counter_ns()
        loaded = loaded_for(source, options, known_domains(chosen))
        if self._recorder is not None:
            self._recorder.stage("model_loading_array" if loaded.path is None else "model_loading_uri", start)
        proceed()
        request = context_request(loaded.path, options, chosen)
        sizes = override_dimensions(loaded.model, options.dimension_overrides, options.denotation_overrides)
        infer_types(loaded.model)
        proceed()
        self._report = rewrite(
            loaded.model,
            level=level,
            evaluate=evaluator(loaded.model, chosen, proceed),
            disabled=(*disabled, *disabled_rules(options)),
        )
        proceed()
        if options.optimized_model_filepath:
            save_optimized(loaded, options)
            proceed()
        hints = parse_hints(options.config_entries.get("onnxgpu.placement", ""))
        engines = engine_files(loaded.path, options, keep=request is not None)
        self._placement = partition(loaded.model, chosen, hints, engines=engines, may_compile=may_compile(options))
        proceed()
        self._placement = collapse(loaded.model, self._placement, chosen, hints)
        if request is not None:
            save_context_model(loaded, self._placement, request)
            proceed()
        self._wrote_engines = request is not None
        self._placement = fuse(loaded.model, self._placement, level=level)
        proceed()
        plan = make_plan(loaded.model.graph, self._placement, chosen)
        proceed()
        if knobs.CHECK():
            _check(loaded.model, self._placement, plan)
        self._arguments = Arguments(loaded, sizes, partial(_refuse_none, _first_readers(plan)))
        self._programs = Programs(plan, chosen, one_signature=self._arguments.have_fixed_shapes)
        self._metadata, self._path = loaded.metadata, loaded.path
        logger.debug("Node placements\n%s", self._placement)
        logger.info("Session successfully initialized.")

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: RunOptions | None = None) -> list[Any]:
        """The outputs with these names (all of them for None or an empty list), in that order.

        Args:
            output_names: which outputs.
            input_feed: input name → array (or nested list, OrtValue, anything with `__array__` or `__dlpack__`).
            run_options: `terminate` ends the run.

        Raises:
            ValueError: an input is missing.
            InvalidArgument: a name, element type, rank or dimension does not fit the model.
            RuntimeError: an input is no tensor at all.
            TypeError: `output_names` is no list of names, or `run_options` no `RunOptions`.
            RuntimeException: an operator failed; names the node and its provider.
        """
        if run_options is not None:
            input_feed = self._adapted(input_feed, run_options)
        inputs = self._arguments.checked(input_feed)
        program = self._program(output_names, inputs)
        if run_options is None and self._is_plain:
            return quietly(program, inputs, None, None, self._around)
        return self._execute(program, inputs, run_options)

    def warm_up(self, inputs: Sequence[Mapping[str, Any]] = (), *, timeout: float | None = None) -> None:
        """Wait until every engine is built, and run a few times, so that the first request is as fast as any: call it before `ready`.

        With the session configuration entry `onnxgpu.warm_up` = "1" a session does so while it is made.

        Args:
            inputs: feeds to run with; without them zeros are, of each profile's best shapes or of the only shapes there are. Of
                shapes that are not known nothing is run, which the log says.
            timeout: seconds to wait for engines; None: as long as it takes. A run whose segments have no stand-by waits in any case.

        Raises:
            TimeoutError: engines are still being built; they go on, and the session can be used.
            EPFail: an engine could not be built.
        """
        warm_up(self, self._programs, inputs, self._selection.providers, timeout)

    def _adapted(self, feed: Mapping[str, Any], run_options: RunOptions | None) -> Mapping[str, Any]:
        """The feed with the parameters of the run's adapters."""
        if run_options is None:
            return feed
        if not isinstance(run_options, RunOptions):
            raise TypeError(f"run(): incompatible function arguments. run_options is a RunOptions, got {run_options!r}")
        if not run_options.active_adapters:
            return feed
        from onnxgpu.adapters import with_adapters

        return with_adapters(feed, run_options.active_adapters)

    def _execute(
        self, program: Program, inputs: list[Any], run_options: RunOptions | None, given: Mapping[int, Array] | None = None
    ) -> list[Any]:
        if run_options is None and self._is_plain:
            return quietly(program, inputs, None, given, self._around)
        with self._surroundings.entered(run_options):
            return quietly(self._run, program, inputs, run_options, given)

    def _run(self, program: Program, inputs: list[Any], run_options: RunOptions | None, given: Mapping[int, Array] | None) -> list[Any]:
        between_steps = None if run_options is None else _terminator(run_options)
        if between_steps is not None:
            between_steps()
        recorder = self._recorder
        if recorder is not None:
            return recorder.run(program, lambda observer: program.observed(inputs, observer, given), between_steps)
        return program(inputs, between_steps, given)

    def run_observed(self, input_feed: Mapping[str, Any], observer: Observer) -> list[Any]:
        """All outputs; `observer` is called after each step (see `onnxgpu.execute.loop.Observer`)."""
        inputs = self._arguments.checked(input_feed)
        return quietly(self._program(None, inputs).observed, inputs, observer)

    def _program(self, output_names: Sequence[str] | None, inputs: list[Any]) -> Program:
        if not output_names and type(inputs) is list:
            return self._programs.whole
        return self._programs.of(self._arguments.output_positions(output_names), memories_of(inputs))

    @property
    def _session_providers(self) -> Sequence[Provider]:
        return self._selection.providers

    def __getstate__(self) -> Any:
        """What the session is made of: it is made again where it is unpickled or copied, from the same path or bytes."""
        source, options, *rest = self._made_of
        if self._wrote_engines:
            options = options.with_entry("ep.context_enable", "0")
        return (source if isinstance(source, (str, bytes)) else source.SerializeToString(), options, *rest)

    def __setstate__(self, state: Any) -> None:
        source, options, providers, provider_options, others = state
        InferenceSession.__init__(self, source, options, providers, provider_options, **others)

    def _make_anew(self, source: Any, options: SessionOptions, providers: Any, provider_options: Any, others: dict[str, Any]) -> None:
        InferenceSession.__init__(self, source, options, providers, provider_options, **others)

    @shown
    def placement(self) -> Placement:
        """Where every node runs, and why."""
        return self._placement

    @shown
    def plan(self) -> Plan:
        """The steps of a run, transfers included."""
        return self._programs.plan

    @shown
    def programs(self) -> tuple[Program, ...]:
        """The plan as it is run: for all outputs, then for each other choice of outputs and places that a run asked for."""
        return tuple(self._programs)

    @shown
    def rewrites(self) -> RewriteReport:
        """What was rewritten before the graph was placed."""
        return self._report

    @shown
    def unavailable_providers(self) -> tuple[tuple[str, str], ...]:
        """Providers that were asked for but are not available here, with the cause."""
        return self._selection.unavailable

    @shown
    def model_path(self) -> Path | None:
        """The file the model was loaded from."""
        return self._path


def _first_readers(plan: Plan) -> dict[int, Step]:
    """Position of an input → the first step that reads it, copies aside."""
    found: dict[int, Step] = {}
    for position, slot in enumerate(plan.inputs):
        for step in plan.steps:
            if slot in step.inputs and not step.is_transfer:
                found[position] = replace(step, bodies={})
                break
            slot = step.outputs[0] if slot in step.inputs else slot
    return found


def _refuse_none(readers: Mapping[int, Step], position: int, name: str) -> None:
    """None is taken for an input that no node reads; the error names the first node that does."""
    from onnxgpu.execute.loop import step_error

    if position in readers:
        raise step_error(readers[position], Fail(f"Missing Input: {name}. The feed holds None for it; give an array"))


def _checked_options(options: SessionOptions) -> SessionOptions:
    if not isinstance(options, SessionOptions):
        raise TypeError(f"incompatible constructor arguments. sess_options is an onnxgpu.SessionOptions, got {options!r}")
    return options


def _check(model: ir.Model, placement: Placement, plan: Plan) -> None:
    from onnxgpu.partition.check import check_placed_graph
    from onnxgpu.plan.check import check_plan

    check_placed_graph(model, placement)
    check_plan(plan)


def _recorder(session: InferenceSession, prefix: str) -> Recorder:
    """A recorder that writes its file when the session ends at the latest."""
    from onnxgpu.profile import Recorder

    recorder = Recorder(prefix)
    weakref.finalize(session, recorder.finish)
    return recorder


def _terminator(options: RunOptions) -> Callable[[], None]:
    def check() -> None:
        if options.terminate:
            raise Fail("Exiting due to terminate flag being set to true.")

    return check
