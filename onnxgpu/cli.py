"""The command `onnxgpu`: run, explain, bench, profile, doctor, demo."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from onnxgpu.errors import InvalidArgument, OnnxGpuError
from onnxgpu.release import __version__

if TYPE_CHECKING:
    from onnxgpu.session import InferenceSession

FILE_WIDTH = 160


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for an error in the model or its input, 2 for a wrong command line.

    An error is one line on stderr. 130 is the status after an interrupt.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show_warning
            status: int = options.command(options, console)
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        return _failed("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OnnxGpuError, ValueError, RuntimeError, TypeError, OSError, MemoryError) as error:
        return _failed(f"{type(error).__name__}: {getattr(error, 'message', error)}")
    except Exception as error:
        return _failed(f"{type(error).__name__}: {error}. This is a fault of onnxgpu: please report it with the model")


def _failed(text: str, status: int = 1) -> int:
    print(f"onnxgpu: {' '.join(text.split())}", file=sys.stderr)
    return status


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"{category.__name__}: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onnxgpu", description="Run ONNX models GPU-first.")
    parser.add_argument("--version", action="version", version=f"onnxgpu {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "run a model once and show its outputs")
    _model_arguments(run)
    run.add_argument("--output", type=Path, metavar="DIR", help="write each output there as NAME.npy")

    explain = _command(commands, "explain", _explain, "which node runs where and why, and every transfer")
    _model_arguments(explain, inputs=False)
    explain.add_argument("--json", action="store_true", help="as JSON")
    explain.add_argument("--plan", action="store_true", help="also the plan, step by step")

    bench = _command(commands, "bench", _bench, "time a model")
    _model_arguments(bench)
    bench.add_argument("--against", metavar="MODULE", help="a module with onnxruntime's API, timed in turns with onnxgpu")
    bench.add_argument("--runs", type=_count, default=20, metavar="N", help="runs of each side (default 20)")

    profile = _command(commands, "profile", _profile, "where the time of a model goes, by operator, node and provider")
    _model_arguments(profile)
    profile.add_argument("--runs", type=_count, default=5, metavar="N", help="runs to record, after two that are not (default 5)")
    profile.add_argument("--top", type=_count, default=20, metavar="N", help="nodes to list (default 20)")
    profile.add_argument("--json", type=Path, metavar="OUT", help="write the trace, for chrome://tracing or Perfetto")
    profile.add_argument("--html", type=Path, metavar="OUT", help="write bars, a timeline and the tables as one page")

    doctor = _command(commands, "doctor", _doctor, "which provider is available, and what is missing")
    doctor.add_argument("--json", action="store_true", help="as JSON")

    demo = _command(commands, "demo", _demo, "recognise handwritten digits with a small trained model")
    demo.add_argument("--loopback", action="store_true", help="put every second node on a pretend device, with real transfers")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def _command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=function)
    return parser


def _model_arguments(parser: argparse.ArgumentParser, *, inputs: bool = True) -> None:
    parser.add_argument("model", metavar="MODEL", help="an ONNX file")
    parser.add_argument(
        "--providers", metavar="A,B", help="providers in order of preference (default: those available that need not be named)"
    )
    if inputs:
        parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy", help="an input; inputs not given are random")


def _session(options: argparse.Namespace) -> InferenceSession:
    from onnxgpu.session import InferenceSession

    providers = [name.strip() for name in options.providers.split(",")] if options.providers else None
    console = Console(stderr=True, markup=False, emoji=False)
    with console.status(f"loading {options.model}"):
        return InferenceSession(options.model, providers=providers)


def _feeds(options: argparse.Namespace, session: InferenceSession, console: Console) -> dict[str, Any]:
    from onnxgpu.feed_files import SEED, feeds_from

    feeds, made_up = feeds_from(session.get_inputs(), options.input, session.get_overridable_initializers())
    if made_up:
        console.print(f"random values (seed {SEED}, unknown dimensions 1) for: {', '.join(made_up)}")
    return feeds


def _run(options: argparse.Namespace, console: Console) -> int:
    import numpy as np

    session = _session(options)
    outputs = session.run(None, _feeds(options, session, console))
    for argument, value in zip(session.get_outputs(), outputs, strict=True):
        if isinstance(value, np.ndarray):
            console.print(f"{argument.name}: {argument.type} {list(value.shape)}")
            console.print(np.array2string(value, threshold=20))
        else:
            console.print(f"{argument.name}: {argument.type}\n{value!r}")
        if options.output is not None:
            _save(options.output, argument.name, value)
    return 0


def _save(folder: Path, name: str, value: Any) -> None:
    import numpy as np

    if not isinstance(value, np.ndarray):
        raise InvalidArgument(f"--output: output {name} is a {type(value).__name__}, and a .npy file holds one tensor; leave --output out")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name.replace('/', '_')}.npy", value.astype(str) if value.dtype == object else value, allow_pickle=False)


def _explain(options: argparse.Namespace, console: Console) -> int:
    from onnxgpu.explain import explanation
    from onnxgpu.explain.text import print_explanation

    session = _session(options)
    explained = explanation(session)
    if options.json:
        print(json.dumps(explained, indent=1))
        return 0
    console.soft_wrap = False
    print_explanation(console, explained)
    console.print(explained["rewrites"])
    if options.plan:
        console.print(str(session.plan))
    return 0


def _bench(options: argparse.Namespace, console: Console) -> int:
    from onnxgpu.bench import bench

    session = _session(options)
    feeds = _feeds(options, session, console)
    result = bench(session, feeds, runs=options.runs, against=options.against, console=Console(stderr=True))
    table = Table("side", "median ms", "fastest ms", "slowest ms")
    for side in result.sides:
        table.add_row(side.name, *(f"{value * 1e3:.3f}" for value in (side.median, min(side.seconds), max(side.seconds))))
    console.print(table)
    if result.ratio is not None:
        low, high = result.spread
        console.print(f"onnxgpu / {options.against}: {result.ratio:.2f} (middle half of the runs: {low:.2f} … {high:.2f})")
        console.print(f"largest difference between the outputs, relative to the largest output: {result.max_error:.1e}")
    return 0


def _profile(options: argparse.Namespace, console: Console) -> int:
    from onnxgpu.profile import html_page, print_summary, recorded_runs, summarize, write_trace

    session = _session(options)
    feeds = _feeds(options, session, console)
    events = recorded_runs(session.programs[0], lambda observer: session.run_observed(feeds, observer), runs=options.runs)
    console.soft_wrap = False
    print_summary(console, summarize(events), most_nodes=options.top)
    if options.json is not None:
        write_trace(options.json, events)
    if options.html is not None:
        options.html.write_text(html_page(events, f"{options.model}: profile"), "utf-8")
    return 0


def _doctor(options: argparse.Namespace, console: Console) -> int:
    from onnxgpu.doctor import diagnosis

    found = diagnosis()
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    console.print(", ".join(f"{name} {value}" for name, value in found["versions"].items()))
    for provider in found["providers"]:
        console.print(f"{provider['name']}: {'available' if provider['available'] else 'not available: ' + provider['cause']}")
        for library in provider["libraries"]:
            version = f" {library['version']}" if library["version"] else ""
            state = f"{library['found']}{version}" if library["found"] else f"not found; {library['remedy']}"
            console.print(f"    {library['name']}{'' if library['needed'] else ' (optional)'}: {state}")
    for name, knob in found["knobs"].items():
        console.print(f"{name} = {knob['value']!r}: {knob['meaning']}")
    for conflict in found["conflicts"]:
        console.print(conflict)
    return 0


def _demo(options: argparse.Namespace, console: Console) -> int:
    from onnxgpu.demo import run_demo

    return run_demo(console, loopback=options.loopback)


if __name__ == "__main__":
    sys.exit(main())
