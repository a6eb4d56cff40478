"""Inputs and outputs bound to memory, once for many runs.

`SessionIOBinding` has the signatures of onnxruntime's `capi` layer and does the work, `IOBinding` those of its Python layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxgpu.devices import HOST_MEMORY, Device, OrtDevice, memory_of
from onnxgpu.errors import OnnxGpuError
from onnxgpu.native_session import NativeSession
from onnxgpu.options import RunOptions
from onnxgpu.ort_value import OrtValue, OrtValueHandle, OrtValueVector
from onnxgpu.provider import Array, Provider
from onnxgpu.values import Value, array_at_pointer, checked_array, copied_home

if TYPE_CHECKING:
    from onnxgpu.execute import Program
    from onnxgpu.session import InferenceSession


class BoundOutput(NamedTuple):
    """Where an output is wanted, and the memory for it if the caller has some."""

    memory: Provider
    given: Value | None = None


class PreparedRun(NamedTuple):
    """A run whose inputs and outputs are looked at, and do not change.

    Attributes:
        program: for the places of its inputs and outputs.
        inputs: one for each input of the program.
        given: position of an output → memory for it; None for none at all.
        memories: position of an output → whose memory it lies in; the others lie on the host.
        types: declared types of the outputs.
    """

    program: Program
    inputs: list[Any]
    given: Mapping[int, Array] | None
    memories: Mapping[int, Provider]
    types: Sequence[str]

    def values(self, contents: Sequence[Any]) -> list[OrtValueHandle]:
        """The outputs with their types and places."""
        return [
            OrtValueHandle.of(content, self.memories.get(index, HOST_MEMORY), _type_of(content, text))
            for index, (content, text) in enumerate(zip(contents, self.types, strict=True))
        ]


def _type_of(content: Any, declared: str) -> str:
    """The type of an output that was computed: an optional that is there has the type of what it holds."""
    return declared[len("optional(") : -1] if declared.startswith("optional(") and content is not None else declared


class SessionIOBinding:
    """What one session reads and where it writes.

    Args:
        arg0: the session.
    """

    def __init__(self, arg0: InferenceSession | NativeSession) -> None:
        arg0 = arg0._session if isinstance(arg0, NativeSession) else arg0
        self._session = arg0
        self._names = {argument.name for argument in (*arg0.get_inputs(), *arg0.get_overridable_initializers())}
        self._inputs: dict[str, Value] = {}
        self._outputs: dict[str, BoundOutput] = {}
        self._prepared: PreparedRun | None = None
        self._finished: tuple[PreparedRun, list[Any]] | None = None
        self._results: OrtValueVector | None = None

    @property
    def session(self) -> InferenceSession:
        """The session that it belongs to."""
        return self._session

    def bind_input(self, arg0: str, arg1: Any, *memory: Any) -> None:
        """Read the input from an array, or from memory.

        Args:
            arg0: name of the input.
            arg1: a NumPy array; or the device, followed by
            memory: element type (of NumPy, or ONNX's number), shape, and address of the first element.

        Raises:
            RuntimeError: there is no such input, or no tensor came.
        """
        if not memory:
            self._check_input(arg0, "Failed to find NodeArg with name: {} in the def list")
            self._prepared = None
            self._inputs[arg0] = self._array(arg0, arg1)
            return
        self._check_input(arg0)
        self._prepared = None
        self._inputs[arg0] = self._at_pointer("bind_input()", arg1, *memory)

    def bind_ortvalue_input(self, arg0: str, arg1: Value) -> None:
        """Read the input `arg0` from a value, wherever it lies.

        Raises:
            TypeError: it is no value.
            RuntimeError: there is no such input.
        """
        self._check_input(arg0)
        self._prepared = None
        self._inputs[arg0] = _value("bind_ortvalue_input()", arg1)

    def bind_output(self, arg0: str, arg1: Device, *memory: Any) -> None:
        """Leave the output on a device, in new memory in each run, or write it into given memory.

        Args:
            arg0: name of the output.
            arg1: the device.
            memory: nothing; or element type, shape, and address of the first element.
        """
        self._prepared = None
        if memory:
            given = self._at_pointer("bind_output()", arg1, *memory)
            self._outputs[arg0] = BoundOutput(given.memory, given)
        else:
            self._outputs[arg0] = BoundOutput(memory_of(arg1))

    def bind_ortvalue_output(self, arg0: str, arg1: Value) -> None:
        """Write the output `arg0` into the memory of a tensor; of any other value only the place counts.

        Raises:
            TypeError: it is no value.
        """
        value = _value("bind_ortvalue_output()", arg1)
        self._prepared = None
        self._outputs[arg0] = BoundOutput(value.memory, value if value.is_tensor() else None)

    def synchronize_inputs(self) -> None:
        """Wait until the devices on which inputs lie are done."""
        for value in self._inputs.values():
            value.memory.synchronize()

    def synchronize_outputs(self) -> None:
        """Wait until the devices on which outputs lie are done."""
        for output in self._outputs.values():
            output.memory.synchronize()

    def get_outputs(self) -> OrtValueVector:
        """The outputs of the last run, in the order in which they were bound, where they lie."""
        if self._results is None:
            self._results = OrtValueVector()
            if self._finished is not None:
                prepared, contents = self._finished
                self._results.extend(prepared.values(contents))
        return self._results

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The outputs of the last run as NumPy arrays (lists, dicts) on the host."""
        return [copied_home(value.content, value.memory) for value in self.get_outputs()]

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._inputs, self._prepared = {}, None

    def clear_binding_outputs(self) -> None:
        """Forget the outputs, and those of the last run."""
        self._outputs, self._prepared = {}, None
        self._finished = self._results = None

    def run(self, run_options: RunOptions | None) -> None:
        """Run the session.

        Raises:
            RuntimeError: no output is bound, or the run failed; its cause is the error of the run.
        """
        try:
            prepared = self._prepared if self._prepared is not None and not _has_adapters(run_options) else self._prepare(run_options)
            contents = self._session._execute(prepared.program, prepared.inputs, run_options, prepared.given)
        except OnnxGpuError as error:
            raise RuntimeError(f"Error in execution: {error.message}") from error
        except (ValueError, RuntimeError) as error:
            raise RuntimeError(f"Error in execution: {error}") from error
        self._finished, self._results = (prepared, contents), None

    def _prepare(self, run_options: RunOptions | None) -> PreparedRun:
        """What runs have in common until something else is bound; a run with adapters, which add inputs, is on its own."""
        if not self._outputs:
            raise RuntimeError("At least one output should be requested.")
        known = [argument.name for argument in self._session.get_outputs()]
        for name in self._outputs:
            if name not in known:
                raise RuntimeError(f"Invalid output name: {name} (the model's outputs are {known})")
        positions = [known.index(name) for name in self._outputs]
        prepared = self._session._prepare(self._inputs, positions, list(self._outputs.values()), run_options)
        if not _has_adapters(run_options):
            self._prepared = prepared
        return prepared

    def _check_input(self, name: str, missing: str = "Error when binding input: Failed to find input name in the mapping: {}") -> None:
        if name not in self._names:
            raise RuntimeError(f"{missing.format(name)} (the model's inputs are {sorted(self._names)})")

    def _array(self, name: str, given: Any) -> Value:
        if isinstance(given, Value):
            return given
        if not isinstance(given, np.ndarray):
            declared = next((argument.type for argument in self._session.get_inputs() if argument.name == name), "tensor(")
            begin = "Only binding Tensors is currently supported"
            if declared.startswith("tensor("):
                begin = "Unable to create OrtValue from the given python object"
            raise RuntimeError(
                f"{begin}: input {name} got {type(given).__name__}; bind a NumPy array, or an OrtValue with bind_ortvalue_input"
            )
        return Value.of(checked_array(given))

    def _at_pointer(self, caller: str, device: Device, element_type: Any, shape: Sequence[int], pointer: int) -> Value:
        memory = memory_of(device)
        return Value.of(array_at_pointer(pointer, shape, element_type, memory, caller), memory)


class IOBinding:
    """What one session reads and where it writes: bind once, run many times with `InferenceSession.run_with_iobinding`.

    Args:
        session: the session.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._iobinding = SessionIOBinding(session)

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Read the input from a NumPy array; every run reads what the array then holds.

        Args:
            name: of the input.
            arr_on_cpu: the array; it is not copied, and kept alive.

        Raises:
            RuntimeError: there is no such input, or it is no array.
        """
        self._iobinding.bind_input(name, arr_on_cpu)

    def bind_input(self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int) -> None:
        """Read the input from memory that the caller keeps alive.

        Args:
            name: of the input.
            device_type: `cpu`, `cuda`, …
            device_id: which of several.
            element_type: a NumPy type, or ONNX's number of one.
            shape: of the tensor, which lies dense in C order.
            buffer_ptr: address of its first element.

        Raises:
            RuntimeError: there is no such input, or the device is not available here.
        """
        self._iobinding.bind_input(name, OrtDevice.make(device_type, device_id)._get_c_device(), element_type, shape, buffer_ptr)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Read the input from a value, wherever it lies; a run copies it only if the plan reads it elsewhere.

        Args:
            name: of the input.
            ortvalue: the value.
        """
        self._iobinding.bind_ortvalue_input(name, ortvalue)

    def synchronize_inputs(self) -> None:
        """Wait until the devices on which inputs lie are done."""
        self._iobinding.synchronize_inputs()

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Leave the output on a device, in new memory in each run, or write it into memory that the caller keeps alive.

        Args:
            name: of the output.
            device_type: `cpu`, `cuda`, …
            device_id: which of several.
            element_type: with `buffer_ptr`: a NumPy type, or ONNX's number of one.
            shape: with `buffer_ptr`: of the output.
            buffer_ptr: address of the first element.

        Raises:
            ValueError: `buffer_ptr` came without type or shape.
        """
        device = OrtDevice.make(device_type, device_id)._get_c_device()
        if buffer_ptr is None:
            self._iobinding.bind_output(name, device)
            return
        if element_type is None or shape is None:
            raise ValueError("`element_type` and `shape` are to be provided if pre-allocated memory is provided")
        self._iobinding.bind_output(name, device, element_type, shape, buffer_ptr)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Write the output into the memory of a tensor, wherever that lies.

        Args:
            name: of the output.
            ortvalue: a tensor of the output's type and shape.
        """
        self._iobinding.bind_ortvalue_output(name, ortvalue)

    def synchronize_outputs(self) -> None:
        """Wait until the devices on which outputs lie are done."""
        self._iobinding.synchronize_outputs()

    def get_outputs(self) -> list[OrtValue]:
        """The outputs of the last run, in the order in which they were bound, where they lie."""
        return [OrtValue(value) for value in self._iobinding.get_outputs()]

    def get_outputs_as_ortvaluevector(self) -> OrtValueVector:
        """As `get_outputs`, in the form of the `capi` layer."""
        return self._iobinding.get_outputs()

    def copy_outputs_to_cpu(self) -> list[Any]:
        """The outputs of the last run as NumPy arrays (lists, dicts) on the host."""
        return self._iobinding.copy_outputs_to_cpu()

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._iobinding.clear_binding_inputs()

    def clear_binding_outputs(self) -> None:
        """Forget the outputs, and those of the last run."""
        self._iobinding.clear_binding_outputs()


def _has_adapters(run_options: RunOptions | None) -> bool:
    return isinstance(run_options, RunOptions) and bool(run_options.active_adapters)


def _value(caller: str, given: Any) -> Value:
    if not isinstance(given, Value):
        raise TypeError(f"{caller}: incompatible function arguments. It takes an OrtValue, got {type(given).__name__}")
    return OrtValueHandle.sharing(given)
