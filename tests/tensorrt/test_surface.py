"""The stand-in of `tensorrt` takes what the real bindings take, and nothing else."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from onnxgpu.providers.tensorrt import stand_in
from onnxgpu.providers.tensorrt.stand_in.surface import api, module
from onnxgpu.providers.tensorrt.stand_in.surface.conversion import Misbehaviour
from tests.tensorrt.echoes import Echoes, callable_members
from tests.tensorrt.mutations import taken

OF_ONE_VERSION = [
    ("10.13", "BuilderFlag.FP16"),
    ("10.13", "BuilderFlag.INT8"),
    ("10.13", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"),
    ("10.13", "IBuilderConfig.int8_calibrator"),
    ("10.13", "IInt8EntropyCalibrator2"),
    ("10.13", "ILayer.precision"),
    ("10.13", "OnnxParser.supports_model"),
    ("10.13", "ICudaEngine.device_memory_size"),
    ("11.4", "OnnxParser.set_builder_config"),
    ("11.4", "INetworkDefinition.add_attention"),
    ("11.4", "ICudaEngine.get_aliased_input_tensor"),
    ("11.4", "OnnxParserFlag.ENABLE_PLUGIN_OVERRIDE"),
    ("11.4", "IKVCacheUpdateLayer"),
]


@pytest.fixture(params=api.VERSIONS)
def echoes(request: pytest.FixtureRequest) -> Iterator[Echoes]:
    """Each version, acting through echoes."""
    stand_in.clear()
    yield Echoes(request.param)
    stand_in.clear()


def refused(echoes: Echoes, call: Callable[[], Any], message: str) -> None:
    """A call is a TypeError in pybind11's words, and no behaviour is reached."""
    before, recorded = len(echoes.reached), len(stand_in.recorded())
    with pytest.raises(TypeError, match=message):
        call()
    assert (len(echoes.reached), len(stand_in.recorded())) == (before, recorded)


def test_every_method_is_reached_with_the_arguments_of_each_of_its_overloads(echoes: Echoes) -> None:
    tried = 0
    for owner, name, overloads in callable_members(echoes):
        for signature in overloads:
            if signature.returns != overloads[0].returns:
                continue  # an echo does not know which overload was meant
            receiver, arguments = echoes.object(owner), echoes.arguments(signature)
            echoes.reached.clear()
            getattr(receiver, name)(*arguments)
            assert [given[:2] for given in echoes.reached] == [(owner, name)]
            assert len(echoes.reached[0][2]) == len(signature.parameters)
            tried += 1
    assert tried > 300


def test_methods_take_no_other_number_of_arguments(echoes: Echoes) -> None:
    for owner, name, overloads in callable_members(echoes):
        bound = getattr(echoes.object(owner), name)
        most = max(overloads, key=lambda each: len(each.parameters))
        refused(echoes, partial(bound, *echoes.arguments(most), 1), "incompatible function arguments")
        least = min(sum(parameter.default is None for parameter in each.parameters) for each in overloads)
        for count in range(least):
            refused(echoes, partial(bound, *echoes.arguments(overloads[0])[:count]), "incompatible function arguments")


def test_methods_take_no_other_names_of_arguments(echoes: Echoes) -> None:
    for owner, name, overloads in callable_members(echoes):
        for signature in overloads:
            bound, arguments = getattr(echoes.object(owner), name), echoes.arguments(signature)
            names = [parameter.name for parameter in signature.parameters]
            refused(echoes, partial(bound, *arguments, nonsense=1), "nonsense=1")
            if any(parameter.by_position_only for parameter in signature.parameters):
                refused(echoes, partial(bound, **dict(zip(names, arguments, strict=True))), "arg0")
            elif names and signature.returns == overloads[0].returns:
                bound(**dict(zip(names, arguments, strict=True)))
                misspelt = dict(zip([f"{names[0]}_", *names[1:]], arguments, strict=True))
                refused(echoes, partial(bound, **misspelt), f"{names[0]}_=")


def test_methods_take_no_other_types(echoes: Echoes) -> None:
    tried = 0
    for owner, name, overloads in callable_members(echoes):
        if len(overloads) > 1:
            continue
        for index, parameter in enumerate(overloads[0].parameters):
            for wrong in echoes.wrong(parameter.type):
                bound, arguments = getattr(echoes.object(owner), name), echoes.arguments(overloads[0])
                arguments[index] = wrong
                refused(echoes, partial(bound, *arguments), "incompatible function arguments")
                tried += 1
    assert tried > 500


def test_methods_are_called_on_their_own_class(echoes: Echoes) -> None:
    for owner, name, overloads in callable_members(echoes):
        function, stranger = getattr(echoes.surface.classes[owner], name), echoes.object("Weights")
        if owner != "Weights":
            refused(echoes, partial(function, stranger, *echoes.arguments(overloads[0])), "incompatible function arguments")


def test_properties_are_read_and_assigned_where_the_real_ones_are(echoes: Echoes) -> None:
    for owner, each in echoes.api.classes.items():
        if owner not in echoes.behaviours or owner.startswith("Dims"):
            continue
        receiver = echoes.object(owner)
        for name, declared in each.properties.items():
            if declared.get:
                getattr(receiver, name)
            else:
                with pytest.raises(AttributeError):
                    getattr(receiver, name)
            echoes.reached.clear()
            if declared.set:
                setattr(receiver, name, echoes.sample(declared.set))
                assert [(given[0], given[1], len(given[2])) for given in echoes.reached] == [(owner, name, 1)]
                for wrong in echoes.wrong(declared.set):
                    refused(echoes, partial(setattr, receiver, name, wrong), r"^\(\): incompatible function arguments")
            else:
                with pytest.raises(AttributeError):
                    setattr(receiver, name, 1)
                assert not echoes.reached


def test_no_other_name_is_read_or_assigned(echoes: Echoes) -> None:
    for owner, each in echoes.api.classes.items():
        if owner not in echoes.behaviours:
            continue
        receiver = echoes.object(owner)
        for name in [*each.methods, *each.properties, "anything"]:
            if name.startswith("__") or f"{name}_" in {**each.methods, **each.properties}:
                continue
            with pytest.raises(AttributeError):
                getattr(receiver, f"{name}_")
            with pytest.raises(AttributeError):
                setattr(receiver, f"{name}_", 1)


def test_objects_are_made_where_the_real_ones_are(echoes: Echoes) -> None:
    for name, each in echoes.api.classes.items():
        own = echoes.surface.classes[name]
        if each.members:
            continue
        if not each.constructors:
            with pytest.raises(TypeError, match=rf"^tensorrt_bindings\.tensorrt\.{name}: No constructor defined!$"):
                own()
        elif not name.startswith("Dims"):
            for signature in each.constructors:
                own(*echoes.arguments(signature))
            most = max(each.constructors, key=lambda each: len(each.parameters))
            refused(echoes, partial(own, *echoes.arguments(most), 1), "incompatible constructor arguments")


def test_enums_have_their_members_and_no_others(echoes: Echoes) -> None:
    for name, each in echoes.api.classes.items():
        if not each.members:
            continue
        own: Any = echoes.surface.classes[name]
        assert {member: int(value) for member, value in own.__members__.items()} == dict(each.members)
        for member, value in each.members.items():
            found = getattr(own, member)
            assert (type(found), int(found), found.value) == (own, value, value)
            assert found == own(value) == remade(found)
        assert not hasattr(own, "NO_SUCH_MEMBER")


def remade(member: Any) -> Any:
    """What pickling would make of it."""
    kind, arguments = member.__reduce__()
    return kind(*arguments)


def test_enums_are_pybind11s(echoes: Echoes) -> None:
    tensorrt: Any = echoes.tensorrt
    FLOAT = tensorrt.DataType.FLOAT
    assert (FLOAT.name, FLOAT.value, str(FLOAT), repr(FLOAT)) == ("FLOAT", 0, "DataType.FLOAT", "<DataType.FLOAT: 0>")
    assert tensorrt.float32 == FLOAT and FLOAT.itemsize == 4
    assert (FLOAT == 0, tensorrt.ActivationType(0) == FLOAT, tensorrt.ActivationType.RELU == FLOAT) == (False, False, False)
    assert {FLOAT: 1}[tensorrt.DataType(0)] == 1
    assert 1 << int(tensorrt.BuilderFlag.TF32) == 64
    assert tensorrt.ILogger.Severity.ERROR < tensorrt.ILogger.Severity.WARNING
    with pytest.raises(TypeError, match="not supported between"):
        assert FLOAT < tensorrt.DataType.HALF
    with pytest.raises(TypeError, match="unsupported operand"):
        assert tensorrt.BuilderFlag.TF32 | tensorrt.BuilderFlag.DEBUG
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        tensorrt.DataType("FLOAT")
    with pytest.raises(AttributeError):
        FLOAT.value = 3


@pytest.mark.parametrize(("version", "path"), OF_ONE_VERSION)
def test_what_one_version_has_is_not_in_the_other(version: str, path: str) -> None:
    def has(tensorrt: Any) -> bool:
        for name in path.split("."):
            if not hasattr(tensorrt, name):
                return False
            tensorrt = getattr(tensorrt, name)
        return True

    assert [each for each in api.VERSIONS if has(module.make(module.surface_of(api.load(each), {})))] == [version]


def test_the_errors_are_the_bindings_own() -> None:
    """Texts of the bindings of 11.4, but for the notation of types."""
    echoes = Echoes("11.4")
    builder = echoes.object("Builder")
    with pytest.raises(TypeError) as caught:
        builder.create_network("strongly typed", flag=1)
    assert str(caught.value) == (
        "create_network(): incompatible function arguments. The following argument types are supported:\n"
        "    1. (self: tensorrt_bindings.tensorrt.Builder, flags: uint32 = 0) -> INetworkDefinition\n\n"
        f"Invoked with: {builder!r}, 'strongly typed'; kwargs: flag=1"
    )
    with pytest.raises(TypeError) as caught:
        echoes.tensorrt.Builder(3)
    assert str(caught.value) == (
        "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
        "    1. tensorrt_bindings.tensorrt.Builder(logger: ILogger)\n\nInvoked with: 3"
    )


def test_numbers_have_the_range_of_the_real_ones(echoes: Echoes) -> None:
    context, builder, network = echoes.object("IExecutionContext"), echoes.object("Builder"), echoes.object("INetworkDefinition")
    context.set_tensor_address("x", 2**64 - 1)
    for address in (-1, 2**64, 1.0, "1", None):
        refused(echoes, partial(context.set_tensor_address, "x", address), "memory: uint64")
    builder.create_network(1)
    for flags in (-1, 2**32, echoes.tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED):
        refused(echoes, partial(builder.create_network, flags), "flags: uint32")
    network.get_input(np.int64(0))
    refused(echoes, lambda: network.get_input(2**31), "index: int32")


def test_shapes_are_tuples_to_a_behaviour_and_dims_to_a_program(echoes: Echoes) -> None:
    tensorrt: Any = echoes.tensorrt
    network = echoes.object("INetworkDefinition")
    for shape in ((1, -1), [1, -1], tensorrt.Dims([1, -1]), np.array([1, -1]), tensorrt.Dims2(1, -1)):
        echoes.reached.clear()
        network.add_input("x", tensorrt.float32, shape)
        assert echoes.reached == [("INetworkDefinition", "add_input", ("x", tensorrt.float32, (1, -1)))]
    for wrong in ("ab", 3, [1.5], ["1"], [1] * 9, {1: 2}, iter([1])):
        refused(echoes, partial(network.add_input, "x", tensorrt.float32, wrong), "shape: Dims")
    found = echoes.object("ICudaEngine").get_tensor_shape("x")
    assert type(found) is tensorrt.Dims
    assert (tuple(found), found == (2, 3), found == [2, 3], found[0], found[:1], len(found), found.MAX_DIMS) == (
        (2, 3),
        True,
        True,
        2,
        (2,),
        2,
        8,
    )
    assert tensorrt.volume(found) == 6
    with pytest.raises(TypeError, match="__eq__"):
        assert found == tensorrt.Dims([2, 3])


def test_none_is_taken_where_it_takes_an_interface_off(echoes: Echoes) -> None:
    config, context = echoes.object("IBuilderConfig"), echoes.object("IExecutionContext")
    config.progress_monitor = None
    context.set_output_allocator("x", None)
    assert [given[2] for given in echoes.reached] == [(None,), ("x", None)]
    refused(echoes, lambda: context.set_tensor_address(None, 1), "name: str")
    refused(echoes, lambda: config.add_optimization_profile(None), "profile: IOptimizationProfile")
    refused(echoes, lambda: echoes.tensorrt.Runtime(None), "logger: ILogger")


def test_addresses_are_capsules_and_objects_are_wrapped_whatever_is_declared(echoes: Echoes) -> None:
    echoes.behaviours["IPluginRegistry"].load_library = lambda own, path: 4096
    registry = echoes.object("IPluginRegistry")
    handle = registry.load_library("plugins.so")
    assert type(handle).__name__ == "PyCapsule"
    registry.deregister_library(handle)
    assert echoes.reached == [("IPluginRegistry", "deregister_library", (4096,))]
    refused(echoes, partial(registry.deregister_library, 4096), "handle: CapsuleType")
    assert echoes.surface.give("get_plugin_registry", "object", registry._behaviour) is registry


def test_programs_derive_from_interfaces(echoes: Echoes) -> None:
    tensorrt: Any = echoes.tensorrt

    class Monitor(tensorrt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self.phases: list[str] = []

        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
            self.phases.append(phase_name)

    class Forgetful(tensorrt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            self.phases: list[str] = []

    class Config(tensorrt.IBuilderConfig):  # type: ignore[misc]
        pass

    monitor = Monitor()
    echoes.object("IBuilderConfig").progress_monitor = monitor
    assert echoes.reached[-1][2] == (monitor,)
    with pytest.raises(RuntimeError, match=r'^Tried to call pure virtual function "IProgressMonitor::step_complete"$'):
        monitor.step_complete("phase", 1)
    with pytest.raises(TypeError, match=r"IProgressMonitor.__init__\(\) must be called when overriding __init__"):
        Forgetful()
    with pytest.raises(TypeError, match=r"Config: No constructor defined!$"):
        Config()


def test_methods_of_programs_take_what_tensorrt_gives_them(echoes: Echoes) -> None:
    tensorrt: Any = echoes.tensorrt
    with pytest.raises(TypeError, match=r"^TensorRT calls .*Short\.notify_shape with \(str, Dims\): too many positional arguments$"):

        class Short(tensorrt.IOutputAllocator):  # type: ignore[misc]
            def notify_shape(self, tensor_name: str) -> None:
                """Without the shape."""

    class Allocator(tensorrt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.IOutputAllocator.__init__(self)
            self.told: list[tuple[Any, ...]] = []

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.told.append((tensor_name, shape))

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            return self.reallocate_output(tensor_name, size=size)

        def reallocate_output(self, tensor_name: str, memory: int = 0, size: int = 0, alignment: int = 0) -> int:
            return size

    allocator = Allocator()
    allocator.notify_shape("y", (2, 3))
    assert [(name, type(shape), tuple(shape)) for name, shape in allocator.told] == [("y", tensorrt.Dims, (2, 3))]
    assert allocator.reallocate_output_async("y", 0, 64, 256, 1) == 64
    for wrong in ((2, 3, 4, 5, 6), ("y", 0.0, 64, 256, 1), ("y", 0, 64, 256, None)):
        with pytest.raises(Misbehaviour, match=r"the stand-in's .*reallocate_output_async gave"):
            allocator.reallocate_output_async(*wrong)


def test_one_object_stands_for_one_behaviour(echoes: Echoes) -> None:
    builder = echoes.object("Builder")
    assert echoes.surface.wrap(builder._behaviour) is builder
    made, other = builder.create_network(), builder.create_network()
    assert made is not other and type(made) is echoes.tensorrt.INetworkDefinition


def test_memory_of_the_host_has_the_buffer_protocol_and_nothing_else(echoes: Echoes) -> None:
    plan = echoes.object("Builder").build_serialized_network(echoes.object("INetworkDefinition"), echoes.object("IBuilderConfig"))
    assert bytes(plan) == b"bytes" and memoryview(plan).nbytes == 5 and plan
    for wrong in (
        lambda: len(plan),
        lambda: plan[0],
        lambda: plan + b"",
        lambda: list(plan),
        lambda: plan.decode(),
        lambda: plan.append(1),
    ):
        with pytest.raises((TypeError, AttributeError)):
            wrong()
    echoes.object("Runtime").deserialize_cuda_engine(plan)
    assert echoes.reached[-1][2][0] == b"bytes"


def test_what_is_not_implemented_says_so() -> None:
    class Builder:
        def __init__(self, logger: Any) -> None:
            """An otherwise empty one."""

    class Logger:
        def __init__(self, severity: Any) -> None:
            """An otherwise empty one."""

    tensorrt: Any = module.make(module.surface_of(api.load("11.4"), {"Builder": Builder, "Logger": Logger}))
    builder = tensorrt.Builder(tensorrt.Logger())
    for use in (lambda: builder.reset(), lambda: builder.num_DLA_cores, lambda: setattr(builder, "max_threads", 1), tensorrt.Permutation):
        with pytest.raises(NotImplementedError, match=r"^TensorRT 11\.4\.0\.106 has .*; the stand-in does not implement it$"):
            use()


@pytest.mark.parametrize(
    ("member", "wrong"), [("get_tensor_shape", 3), ("get_tensor_name", 1), ("get_tensor_dtype", 0), ("is_shape_inference_io", 1)]
)
def test_a_behaviour_that_returns_another_type_is_found_out(member: str, wrong: object) -> None:
    echoes = Echoes("11.4")
    engine = echoes.object("ICudaEngine")
    setattr(echoes.behaviours["ICudaEngine"], member, lambda own, argument: wrong)
    argument = 0 if member == "get_tensor_name" else "x"
    with pytest.raises(Misbehaviour, match=rf"the stand-in's ICudaEngine\.{member} gave {wrong!r}, and the API of 11\.4\.0\.106 says"):
        getattr(engine, member)(argument)


def program(echoes: Echoes) -> None:
    """Calls of many kinds, all of them right."""
    tensorrt: Any = echoes.tensorrt
    builder = tensorrt.Builder(tensorrt.Logger(min_severity=tensorrt.Logger.WARNING))
    network = builder.create_network(flags=2)
    network.add_input("x", dtype=tensorrt.float32, shape=(1, 3))
    config = builder.create_builder_config()
    config.set_flag(tensorrt.BuilderFlag.TF32)
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, pool_size=1 << 20)
    config.builder_optimization_level = 3
    engine = tensorrt.Runtime(tensorrt.Logger()).deserialize_cuda_engine(builder.build_serialized_network(network, config))
    context = engine.create_execution_context()
    context.set_input_shape("x", (1, 3))
    assert engine.num_io_tensors == 1
    context.execute_async_v3(stream_handle=0)


def test_calls_are_recorded_in_their_order(echoes: Echoes) -> None:
    program(echoes)
    assert [str(call) for call in stand_in.recorded()][:3] == [
        "Logger(min_severity=<Severity.WARNING: 2>)",
        f"Builder({stand_in.recorded()[1].text[1:-1]})",
        "Builder.create_network(flags=2)",
    ]
    assert "IBuilderConfig.builder_optimization_level = 3" in map(str, stand_in.recorded())
    assert all(call.receiver is None and not call.arguments for call in stand_in.recorded())
    stand_in.clear()
    assert stand_in.recorded() == ()


def test_every_change_of_a_recorded_call_is_refused(echoes: Echoes) -> None:
    with stand_in.keeping_arguments():
        program(echoes)
    calls = stand_in.recorded()
    assert len(calls) == 16
    assert taken(calls, echoes.api) == []


def test_a_version_is_installed_and_taken_out_again() -> None:
    if stand_in.installed():
        pytest.skip("this process runs on the stand-in already")
    try:
        for version in api.VERSIONS:
            import_of = stand_in.install(version)
            assert sys.modules["tensorrt"] is import_of is stand_in.install(version)
            assert import_of.__version__ == api.load(version).version
            assert pickle.loads(pickle.dumps(import_of.float32)) == import_of.float32
            other = next(each for each in api.VERSIONS if each != version)
            with pytest.raises(RuntimeError, match=f"the stand-in of {version} is imported as `tensorrt`"):
                stand_in.install(other)
            stand_in.uninstall()
            assert "tensorrt" not in sys.modules and not stand_in.installed()
    finally:
        stand_in.uninstall()
    with pytest.raises(ValueError, match=r"10\.13 and 11\.4, not '9\.0'"):
        stand_in.install("9.0")
