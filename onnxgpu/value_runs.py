"""Running a session on values that lie somewhere: bound ones, `OrtValue`s, vectors of them; and in another thread."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxgpu.bindings import BoundOutput, IOBinding, PreparedRun, SessionIOBinding
from onnxgpu.devices import HOST_MEMORY, Device, OrtDevice, OrtDeviceVendorId, describe, device_of, memory_of
from onnxgpu.ep_devices import OrtEpDevice, get_ep_devices
from onnxgpu.errors import InvalidArgument, OnnxGpuError
from onnxgpu.feeds import memories_of
from onnxgpu.memory_info import OrtMemoryInfo, memory_info_of
from onnxgpu.options import RunOptions
from onnxgpu.ort_value import OrtValue, OrtValueHandle, OrtValueVector
from onnxgpu.provider import HOST, Array, Provider
from onnxgpu.values import Value, array_from_shape

if TYPE_CHECKING:
    from onnxgpu.arguments import Arguments
    from onnxgpu.execute import Program
    from onnxgpu.programs import Programs

Callback = Callable[[list[Any], Any, str], None]
"""Called with the outputs, the caller's own object, and the text of the error ("" if there is none)."""


class ValueRuns:
    """What an `InferenceSession` does beside `run`."""

    _programs: Programs
    _arguments: Arguments

    @property
    @abstractmethod
    def _session_providers(self) -> Sequence[Provider]:
        """The providers of the session, in order."""

    @abstractmethod
    def _execute(
        self, program: Program, inputs: list[Any], run_options: RunOptions | None, given: Mapping[int, Array] | None = None
    ) -> list[Any]:
        """The outputs of `program`."""

    @abstractmethod
    def _adapted(self, feed: Mapping[str, Any], run_options: RunOptions | None) -> Mapping[str, Any]:
        """The feed with the parameters of the run's adapters."""

    @abstractmethod
    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: RunOptions | None = None) -> list[Any]:
        """See `InferenceSession.run`."""

    def io_binding(self) -> IOBinding:
        """An object that binds inputs and outputs to memory, for `run_with_iobinding`."""
        return IOBinding(self)  # type: ignore[arg-type]  # every ValueRuns is an InferenceSession

    def run_with_iobinding(self, iobinding: IOBinding | SessionIOBinding, run_options: RunOptions | None = None) -> None:
        """Run on bound memory; the binding then has the outputs.

        An input that lies where the plan reads it is not copied, an output that is bound to a device stays there, and one that
        is bound to memory is written into it.

        Args:
            iobinding: of this session.
            run_options: `terminate` ends the run.

        Raises:
            ValueError: the binding belongs to another session.
            RuntimeError: nothing is bound as an output, or the run failed; the cause is the error of the run.
        """
        binding = iobinding._iobinding if isinstance(iobinding, IOBinding) else iobinding
        if not isinstance(binding, SessionIOBinding):
            raise AttributeError(f"'{type(iobinding).__name__}' object has no attribute '_session': it is no IOBinding")
        if binding.session is not self:
            raise ValueError("IOBinding must be used with the session that created it.")
        if run_options is not None and not isinstance(run_options, RunOptions):
            raise TypeError(f"run_with_iobinding(): incompatible function arguments. run_options is a RunOptions, got {run_options!r}")
        binding.run(run_options)

    def run_with_ort_values(
        self, output_names: Sequence[str] | None, input_dict_ort_values: Mapping[str, OrtValue], run_options: RunOptions | None = None
    ) -> list[OrtValue]:
        """The outputs with these names, on the host.

        Args:
            output_names: which outputs; None or an empty list: all.
            input_dict_ort_values: input name → value, wherever it lies.
            run_options: `terminate` ends the run.

        Raises:
            AttributeError: something else than an `OrtValue` came.
            OnnxGpuError: as of `run`.
        """
        for name, value in input_dict_ort_values.items():
            if not isinstance(value, Value):
                kind = f"'{type(value).__module__.partition('.')[0]}.{type(value).__name__}'"
                raise AttributeError(f"{kind} object has no attribute '_get_c_value': input {name} is to be an OrtValue")
        self._arguments.check_required(list(input_dict_ort_values))
        positions = self._arguments.output_positions(output_names) or tuple(range(len(self._arguments.outputs)))
        wanted = [BoundOutput(HOST_MEMORY)] * len(positions)
        return [OrtValue(value) for value in self._run_values(input_dict_ort_values, positions, wanted, run_options)]

    def run_with_ortvaluevector(
        self,
        run_options: RunOptions,
        feed_names: Sequence[str],
        feeds: OrtValueVector,
        fetch_names: Sequence[str],
        fetches: OrtValueVector,
        fetch_devices: Sequence[Device],
    ) -> None:
        """Run, with inputs and outputs in vectors.

        Args:
            run_options: `terminate` ends the run.
            feed_names: names of the inputs.
            feeds: as many values.
            fetch_names: names of the outputs.
            fetches: empty, and filled with the outputs; or as many tensors, into which they are written.
            fetch_devices: where each output is wanted.

        Raises:
            InvalidArgument: the numbers of names and values differ.
            OnnxGpuError: as of `run`.
        """
        if not isinstance(run_options, RunOptions):
            raise TypeError(f"run_with_ortvaluevector(): incompatible function arguments. run_options is a RunOptions, got {run_options!r}")
        if len(feed_names) != len(feeds):
            raise InvalidArgument(f"feed names has {len(feed_names)} elements, but feed has {len(feeds)} elements.")
        if len(fetches) not in (0, len(fetch_names)) or len(fetch_devices) != len(fetch_names):
            counts = f"{len(fetch_names)} output names, {len(fetches)} values for them and {len(fetch_devices)} devices"
            raise InvalidArgument(f"Output vector pointer is not empty and does not fit: there are {counts}")
        positions = self._arguments.output_positions(fetch_names)
        given: list[Value | None] = list(fetches) if len(fetches) else [None] * len(positions)
        wanted = [
            BoundOutput(memory_of(device)) if value is None else BoundOutput(value.memory, value)
            for value, device in zip(given, fetch_devices, strict=True)
        ]
        values = self._run_values(dict(zip(feed_names, feeds, strict=True)), positions, wanted, run_options)
        fetches.replace(values)

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callback,
        user_data: Any,
        run_options: RunOptions | None = None,
    ) -> None:
        """Run in a thread of its own, and call `callback` there.

        Args:
            output_names: as of `run`.
            input_feed: as of `run`; the arrays must stay as they are until the callback is called.
            callback: called with the list of outputs, `user_data` and ""; or with [], `user_data` and the text of the error.
            user_data: any object.
            run_options: as of `run`.

        Raises:
            ValueError: an input is missing (everything else is told to the callback).
        """
        self._arguments.check_required(list(input_feed))
        feed = dict(input_feed)

        def work() -> None:
            try:
                results, problem = self.run(output_names, feed, run_options), ""
            except OnnxGpuError as error:
                results, problem = [], error.message
            except Exception as error:
                results, problem = [], f"{type(error).__name__}: {error}"
            callback(results, user_data, problem)

        threading.Thread(target=work, name="onnxgpu run_async").start()

    def create_ortvalue_from_shape_and_type(
        self,
        shape: Sequence[int],
        element_type: Any,
        device_type: str,
        device_id: int = 0,
        vendor_id: int | OrtDeviceVendorId = -1,
    ) -> OrtValue:
        """New memory at a place where this session has a provider.

        Args:
            shape: sizes of 0 and more.
            element_type: a NumPy type, or ONNX's number of one.
            device_type: `cpu`, `cuda`, …
            device_id: which of several.
            vendor_id: PCI vendor, if `device_type` is `gpu` or `npu`.

        Raises:
            RuntimeError: the session has no provider there, or the type has no ONNX counterpart.
        """
        device = OrtDevice.make(device_type, device_id, vendor_id)._get_c_device()
        memories = (HOST_MEMORY, *(p for p in self._session_providers if p.place != HOST))
        found = next((memory for memory in memories if _same_memory(device, device_of(memory))), None)
        if found is None:
            places = ", ".join(str(place) for place in dict.fromkeys(memory.place for memory in memories))
            raise RuntimeError(f"No session allocator found for {describe(device)} (this session has {places})")
        return OrtValue(Value.of(array_from_shape(shape, element_type, found), found), session=self)

    def get_input_memory_infos(self) -> list[OrtMemoryInfo]:
        """For each input, the memory from which the plan reads it first, so that binding it there saves a copy."""
        return [memory_info_of(self._reader_of(slot)) for slot in self._input_slots()]

    def get_output_memory_infos(self) -> list[OrtMemoryInfo]:
        """For each output, the memory in which the plan computes it, so that binding it there saves a copy."""
        return [memory_info_of(self._writer_of(slot)) for slot in self._programs.plan.outputs]

    def get_input_epdevices(self) -> list[OrtEpDevice | None]:
        """For each input, the device whose provider reads it first."""
        devices = {device.ep_name: device for device in get_ep_devices()}
        host = next((devices[p.name] for p in self._session_providers if p.place == HOST and p.name in devices), None)
        return [
            devices.get(self._reader_of(slot).name, host) if self._reader_of(slot).place != HOST else host for slot in self._input_slots()
        ]

    def _input_slots(self) -> list[int]:
        return [self._programs.plan.inputs[position] for position in self._arguments.input_positions()]

    def _reader_of(self, slot: int) -> Provider:
        readers = [step for step in self._programs.plan.steps if slot in step.inputs]
        places = {step.provider.place if step.is_transfer else HOST for step in readers}
        return readers[0].provider if len(places) == 1 and readers[0].is_transfer else HOST_MEMORY

    def _writer_of(self, slot: int) -> Provider:
        writer = next((step for step in self._programs.plan.steps if slot in step.outputs), None)
        return writer.provider if writer is not None and writer.is_transfer else HOST_MEMORY

    def _run_values(
        self, feeds: Mapping[str, Value], positions: Sequence[int], wanted: Sequence[BoundOutput], run_options: RunOptions | None
    ) -> list[OrtValueHandle]:
        prepared = self._prepare(feeds, positions, wanted, run_options)
        return prepared.values(self._execute(prepared.program, prepared.inputs, run_options, prepared.given))

    def _prepare(
        self, feeds: Mapping[str, Value], positions: Sequence[int], wanted: Sequence[BoundOutput], run_options: RunOptions | None
    ) -> PreparedRun:
        """A run for the outputs at `positions`, each in the memory where it is wanted."""
        from onnxgpu.execute import Given

        inputs = self._arguments.checked(self._adapted(feeds, run_options))
        types = [self._arguments.outputs[position].type for position in positions]
        outputs = list(enumerate(zip(wanted, types, strict=True)))
        memories = {index: output.memory for index, (output, text) in outputs if output.memory.place != HOST and _may_leave_host(text)}
        given = {index: _checked_given(output.given, text) for index, (output, text) in outputs if output.given}
        program = self._programs.of(positions, memories_of(inputs), memories)
        return PreparedRun(program, inputs, Given(given) if given else None, memories, types)


def _may_leave_host(declared: str) -> bool:
    """False for types of strings and maps, which no device has."""
    return "string" not in declared and "map(" not in declared


def _same_memory(wanted: Device, there: Device) -> bool:
    same_vendor = wanted.vendor_id() in (0, there.vendor_id())
    same_index = wanted.device_id() == there.device_id() or there.device_type() == 0
    return wanted.device_type() == there.device_type() and same_vendor and same_index


def _checked_given(given: Value, declared: str) -> Array:
    if given.data_type() != declared:
        raise InvalidArgument(f"Unexpected output data type. Actual: ({given.data_type()}) , expected: ({declared})")
    return given.content
