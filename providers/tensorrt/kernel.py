"""An engine as a kernel: a profile for the shapes of a run, a context for the run, addresses in, addresses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxgpu.errors import EPFail, InvalidArgument, OnnxGpuError, RuntimeException
from onnxgpu.provider import Array, Spec, Value
from onnxgpu.providers.cuda.capture import NotCapturable, forbid, is_going_on, keep
from onnxgpu.providers.cuda.failures import launched
from onnxgpu.providers.cuda.gpu import Gpu
from onnxgpu.providers.segments.shapes import Profile, closest, fits
from onnxgpu.providers.tensorrt.engine import Context, Engine, Key
from onnxgpu.providers.tensorrt.messages import listening
from onnxgpu.providers.tensorrt.results import ALIGNMENT, Results
from onnxgpu.segment_provider import Segment

MOST_REMEMBERED = 1024
_BYTE = np.dtype(np.uint8)

Sizes = Mapping[str, tuple[int, ...]]
"""Input → its shape, or its values if it is read on the host."""


class EngineKernel:
    """Runs an engine on the stream that the session launches on.

    Args:
        segment: its inputs and outputs are those of the engine, by name.
        engine: what was built for it.
        profiles: of the engine; none if it serves one shape alone.
        device: whose memory the tensors lie in.
        host_inputs: positions of inputs that TensorRT reads on the host.

    Attributes:
        engine: as given.
        profiles: of the engine.
        host_inputs: as given.
    """

    launches_many = True

    def __init__(self, segment: Segment, engine: Engine, profiles: Sequence[Profile], device: Gpu, host_inputs: frozenset[int]) -> None:
        self._segment, self.engine, self._device, self.host_inputs = segment, engine, device, host_inputs
        self.profiles = tuple(profiles)
        self._names = tuple(value.name for value in segment.inputs)
        self._result_names = tuple(value.name for value in segment.outputs)
        self._result_dtypes = tuple(value.dtype or _BYTE for value in segment.outputs)
        self._known: dict[Key, int] = {}
        self._specs: dict[Key, tuple[Spec, ...] | None] = {}
        self._check_places()
        with device.working():
            self._nothing = device.allocate(Spec((ALIGNMENT,), _BYTE))

    def _check_places(self) -> None:
        """An address of the host in the place of one of the device would be read on the device.

        Raises:
            EPFail: the engine wants a tensor where the plan does not bring it.
        """
        wanted = {name for name in self._names if self.engine.reads_on_host(name)}
        wanted |= {name for name in self._result_names if self.engine.writes_on_host(name)}
        on_host = {self._names[index] for index in self.host_inputs}
        for name in (*self._names, *self._result_names):
            if (name in wanted) != (name in on_host):
                there, here = ("the device", "the host") if name in on_host else ("the host", "the device")
                raise EPFail(
                    f"TensorRT's engine of {self._segment} wants '{name}' on {there}, and its network said {here}: report the model"
                )

    def holds(self, inputs: Sequence[Value]) -> bool:
        """True if a profile of the engine serves these shapes."""
        return self.serves(self.profiles, sizes_of(self._segment, inputs, self.host_inputs))

    @staticmethod
    def serves(profiles: Sequence[Profile], sizes: Sizes) -> bool:
        """True if an engine with these profiles serves these sizes."""
        return not profiles or any(fits(profile, sizes) for profile in profiles)

    def outputs(self, inputs: Sequence[Value]) -> Sequence[Spec] | None:
        """What the engine says for these shapes; None where it depends on the data."""
        key = self._key(inputs)
        if key not in self._specs:
            if len(self._specs) >= MOST_REMEMBERED:
                self._specs.clear()
            self._specs[key] = self._inferred(inputs, key)
        return self._specs[key]

    def workspace(self, inputs: Sequence[Value]) -> int:
        """What a context needs beside its persistent memory, and room to align it."""
        size = self.engine.workspace(self._profile(inputs, self._key(inputs)))
        return size + ALIGNMENT - 1 if size else 0

    def launch(self, inputs: Sequence[Value], outputs: Sequence[Array] | None, workspace: Array | None) -> Sequence[Value]:
        """Enqueue the engine; a context that a graph is captured from stays with that graph."""
        launched.append(str(self._segment))
        if self.engine.streams_weights:
            forbid(f"{self._segment}: its weights are streamed from the host")
        engine, key = self.engine, self._key(inputs)
        profile = self._profile(inputs, key)
        is_captured = is_going_on()
        context = engine.take_ready(key) if is_captured else engine.take(key)
        if context is None:
            raise NotCapturable(f"{self._segment}: no context that is free ran with these shapes")
        if is_captured:
            keep(_Lease(engine, context))
        try:
            with self._device.current():
                return self._enqueued(context, key, profile, inputs, outputs, workspace)
        except OnnxGpuError:
            raise
        except Exception as error:
            raise self._device.explained(error, str(self._segment)) from error
        finally:
            if not is_captured:
                engine.give_back(context)

    def _enqueued(
        self,
        context: Context,
        key: Key,
        profile: int,
        inputs: Sequence[Value],
        outputs: Sequence[Array] | None,
        workspace: Array | None,
    ) -> Sequence[Value]:
        stream = self._device.current_stream()
        if outputs is None and (size := self.workspace(inputs)):
            workspace = self._device.allocate(Spec((size,), _BYTE))  # a step of unknown results is given none
        with listening() as told:
            self._set_up(context, key, profile, inputs, stream)
            copies = [self._place_input(context, index, value) for index, value in enumerate(inputs)]
            results = Results(self._device, self._segment, outputs, self._nothing, context)
            for name in self._result_names:
                results.place(name)
            if workspace is not None:
                address = self._device.pointer(workspace)
                memory = address + (shift := -address % ALIGNMENT), workspace.size - shift
                if context.memory != memory:
                    context.raw.set_device_memory(*memory)
                    context.memory = memory
            if not context.raw.execute_async_v3(stream):
                context.key = None
                raise results.problem() or told.failed(RuntimeException, f"TensorRT failed in {self._segment}")
        context.has_run = True
        del copies  # kept until here: TensorRT holds addresses alone
        return results.taken()

    def _inferred(self, inputs: Sequence[Value], key: Key) -> tuple[Spec, ...] | None:
        engine, profile = self.engine, self._profile(inputs, key)
        with self._device.working(), listening() as told:
            context = engine.take(key)
            try:
                self._set_up(context, key, profile, inputs, self._device.current_stream())
                missing = context.raw.infer_shapes()
                if missing:
                    raise told.failed(RuntimeException, f"TensorRT does not know enough of {missing} to run {self._segment}")
                shapes = [tuple(context.raw.get_tensor_shape(name)) for name in self._result_names]
            except (RuntimeError, ValueError) as error:  # of a shape that is not known, the bindings say that it has no length
                context.key = None
                raise RuntimeException(
                    f"TensorRT cannot run {self._segment} with {self._told(inputs)}: {told.reason(str(error))}"
                ) from error
            finally:
                engine.give_back(context)
        if any(size < 0 for shape in shapes for size in shape):
            return None
        return tuple(Spec(shape, dtype) for shape, dtype in zip(shapes, self._result_dtypes, strict=True))

    def _set_up(self, context: Context, key: Key, profile: int, inputs: Sequence[Value], stream: int) -> None:
        """Tell a context the profile, the shapes, and where the values are that it reads on the host."""
        if context.key == key:
            return
        context.key, context.has_run = None, False
        raw = context.raw
        with listening() as told:
            if context.profile != profile:
                if not raw.set_optimization_profile_async(profile, stream):
                    raise told.failed(RuntimeException, f"TensorRT does not switch to profile {profile} of {self._segment}")
                context.profile, context.memory = profile, (0, 0)
            for index, value in enumerate(inputs):
                if not raw.set_input_shape(self._names[index], tuple(value.shape)):
                    raise told.failed(RuntimeException, f"TensorRT cannot run {self._segment} with {self._told(inputs)}")
        for index in self.host_inputs:
            name = self._names[index]
            context.held[name] = values = np.array(inputs[index], order="C", ndmin=1)
            context.place(name, values.ctypes.data)
        context.key = key

    def _place_input(self, context: Context, index: int, value: Value) -> Array | None:
        """Give a context the address of an input; what it reads a copy of instead is returned."""
        if index in self.host_inputs:
            return None
        array = self._device.dense(value)
        if not array.size:
            array = self._nothing
        elif self._device.pointer(array) % ALIGNMENT:
            array = self._device.copied(array)
        context.place(self._names[index], self._device.pointer(array))
        return array

    def _profile(self, inputs: Sequence[Value], key: Key) -> int:
        """The number of the profile for a run.

        Raises:
            InvalidArgument: none holds it.
        """
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            found = self._narrowest(inputs)
            if found is None:
                held = "; ".join(", ".join(f"{name} {bounds}" for name, bounds in profile) for profile in self.profiles)
                raise InvalidArgument(
                    f"no profile of {self._segment} holds {self._told(inputs)}; they hold {held}. Widen trt_profile_min_shapes and "
                    "trt_profile_max_shapes, or set trt_build_on_request=1 to have engines built during runs"
                )
            self._known[key] = found
        return found

    def _narrowest(self, inputs: Sequence[Value]) -> int | None:
        if not self.profiles:
            return 0
        found = closest(self.profiles, sizes_of(self._segment, inputs, self.host_inputs))
        return None if found is None else self.profiles.index(found)

    def _key(self, inputs: Sequence[Value]) -> Key:
        values = tuple(np.asarray(inputs[index]).tobytes() for index in sorted(self.host_inputs))
        return (tuple(tuple(value.shape) for value in inputs), values)

    def _told(self, inputs: Sequence[Value]) -> str:
        return ", ".join(f"{name}: {list(value.shape)}" for name, value in zip(self._names, inputs, strict=True))


def sizes_of(segment: Segment, inputs: Sequence[Value], host_inputs: frozenset[int]) -> Sizes:
    """Input → its shape, or its values if it is read on the host."""
    return {
        info.name: tuple(int(number) for number in np.ravel(value)) if index in host_inputs else tuple(value.shape)
        for index, (info, value) in enumerate(zip(segment.inputs, inputs, strict=True))
    }


class _Lease:
    """Of a captured context: others have it again when the graph is gone."""

    def __init__(self, engine: Engine, context: Context) -> None:
        self._engine, self._context = engine, context

    def __del__(self) -> None:
        self._engine.give_back(self._context)
