"""The orders of calls and the preconditions that TensorRT's documentation states, and which of them a program broke.

TensorRT answers most of these with False or None and a line in the log, some with undefined behaviour. The stand-in gives the same
answer, and remembers the violation besides, so that a test fails even where the program goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxgpu.providers.tensorrt.stand_in.reports import Reports


@dataclass(frozen=True, slots=True)
class Rule:
    """What has to hold, with the sentence of NVIDIA's documentation that says so.

    Attributes:
        source: the member whose documentation it is.
        sentence: as it stands there.
    """

    source: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken: its name in `RULES`, by which call, and how."""

    rule: str
    call: str
    detail: str

    def __str__(self) -> str:
        rule = RULES[self.rule]
        return f"{self.call}: {self.detail} ({rule.source}: “{rule.sentence}”)"


RULES: Mapping[str, Rule] = {
    "one model a parser": Rule("createParser", "Each instance of the parser is designed to only parse one ONNX model once."),
    "one loaded model": Rule(
        "OnnxParser.load_model_proto",
        "Only one model can be loaded at a time. Subsequent calls to load_model_proto() will result in an error.",
    ),
    "model before initializers": Rule("OnnxParser.load_initializer", "This function was called prior to load_model_proto()."),
    "model before parsing": Rule(
        "OnnxParser.load_model_proto", "To begin the conversion of the model into a TensorRT INetworkDefinition, use parse_model_proto()."
    ),
    "initializers before parsing": Rule(
        "OnnxParser.load_initializer", "All user-provided initializers must be provided prior to calling parse_model_proto()."
    ),
    "weights outlive the build": Rule("Weights", "The weights are held by reference until the engine has been built."),
    "subgraphs after supports_model_v2": Rule("OnnxParser.get_subgraph_nodes", "Calling before supportsModelV2 is an undefined behavior."),
    "shape values for shape tensors alone": Rule(
        "IOptimizationProfile.set_shape_input", "This function must NOT be called for any input tensor that is not a shape tensor."
    ),
    "profile before building": Rule(
        "IBuilderConfig.add_optimization_profile",
        "This function must be called at least once if the network has dynamic or shape input tensors.",
    ),
    "profile names every dynamic input": Rule(
        "IOptimizationProfile.set_shape", "This function must be called for any network input tensor that has dynamic dimensions."
    ),
    "profile gives every shape value": Rule(
        "IOptimizationProfile.set_shape_input",
        "This function must be called for every input tensor t that is a shape tensor (t.is_shape == True).",
    ),
    "profile is valid": Rule(
        "IBuilderConfig.add_optimization_profile", "The new optimization profile, which must satisfy bool(profile) == True"
    ),
    "plugins before deserialisation": Rule(
        "OnnxParser.get_used_vc_plugin_libraries",
        "ensure that IPluginRegistry.load_library() is used to load these libraries in the appropriate runtime before "
        "deserializing the corresponding engine",
    ),
    "budget before contexts": Rule(
        "ICudaEngine::setWeightStreamingBudgetV2",
        "The weights streaming budget cannot be modified while there are active IExecutionContexts.",
    ),
    "streaming asked of the builder": Rule(
        "ICudaEngine::setWeightStreamingBudgetV2", "BuilderFlag::kWEIGHT_STREAMING must be set during engine building."
    ),
    "profile before shapes": Rule(
        "IExecutionContext::setOptimizationProfileAsync",
        "setOptimizationProfileAsync() must be called before calling setInputShape() for all dynamic input tensors or input shape tensors",
    ),
    "profile exists": Rule(
        "IExecutionContext::setOptimizationProfileAsync", "The value must lie between 0 and getEngine().getNbOptimizationProfiles() - 1"
    ),
    "profile is there when the work begins": Rule(
        "IExecutionContext::setOptimizationProfileAsync",
        "Not synchronizing the stream used at enqueue with the stream used to set optimization profile asynchronously using this API "
        "will result in undefined behavior.",
    ),
    "a run before a capture": Rule(
        "Performance Best Practices, CUDA Graphs", "Call execute_async_v3() once after an input shape change to update internal state."
    ),
    "shape fits the network": Rule(
        "IExecutionContext::setInputShape", "Each dimension must agree with the network dimension unless the latter was -1."
    ),
    "shape within the profile": Rule(
        "IOptimizationProfile",
        "A runtime error will be raised if the input tensor dimensions fall outside the valid range for this profile.",
    ),
    "values within the profile": Rule(
        "IOptimizationProfile", "Likewise, users provide minimum, optimum, and maximum values for all shape tensor input values."
    ),
    "shapes before execution": Rule(
        "IExecutionContext.infer_shapes",
        "It has dynamic dimensions and its runtime dimensions have not yet been specified via set_input_shape.",
    ),
    "addresses before execution": Rule(
        "IExecutionContext::setTensorAddress",
        "Before calling enqueueV3(), each input must have a non-null address and each output must "
        "have a non-null address or an IOutputAllocator to set it later.",
    ),
    "addresses are aligned": Rule("IExecutionContext::setTensorAddress", "The pointer must have at least 256-byte alignment."),
    "buffers are large enough": Rule(
        "IExecutionContext::setTensorAddress", "The pointer must point to a device buffer of sufficient size and alignment"
    ),
    "shape tensors on the host": Rule("IExecutionContext::setTensorAddress", "The pointer must point to a host buffer of sufficient size."),
    "tensors on the device": Rule(
        "IExecutionContext::setTensorAddress", "The pointer must point to a device buffer of sufficient size and alignment"
    ),
    "allocator for unknown shapes": Rule(
        "IExecutionContext::setTensorAddress",
        "If getTensorShape(name) reports a -1 for any dimension of an output after all input "
        "shapes have been set, use setOutputAllocator()",
    ),
    "device memory before execution": Rule(
        "IExecutionContext.set_device_memory", "This must be at least as large as CudaEngine.get_device_memory_size_v2"
    ),
    "device memory is aligned": Rule("IExecutionContext.set_device_memory", "256-byte aligned device memory."),
    "device memory is the user's": Rule(
        "ExecutionContextAllocationStrategy.USER_MANAGED", "The user supplies custom allocation to the execution context."
    ),
    "one stream at a time": Rule(
        "IExecutionContext",
        "Multiple IExecutionContext s may exist for one ICudaEngine instance, allowing the same "
        "ICudaEngine to be used for the execution of multiple batches simultaneously.",
    ),
    "auxiliary streams differ": Rule(
        "IExecutionContext::setAuxStreams",
        "The provided auxiliary streams must not be the default stream and must all be different to avoid deadlocks.",
    ),
    "context outlives its work": Rule(
        "IExecutionContext.device_memory",
        "If using execute_async_v3() to run the network, the memory is in use from the invocation of "
        "execute_async_v3() until network execution is complete.",
    ),
    "outputs have memory of their own": Rule(
        "ICudaEngine.get_aliased_input_tensor",
        "If the given tensor name is not an output tensor or the output does not alias with any input, None should be returned.",
    ),
    "streamed weights are not captured": Rule(
        "IExecutionContext::enqueueV3",
        "If the Engine is streaming weights, enqueueV3 will become synchronous, and the graph will not be capturable.",
    ),
    "capture has known shapes": Rule(
        "IOutputAllocator::notifyShape", "Called by TensorRT sometime between when it calls reallocateOutput and enqueueV3 returns."
    ),
    "weights before refitting": Rule(
        "Refitter.refit_cuda_engine", "False if new weights validation fails or get_missing_weights() != 0 before the call"
    ),
    "weights before execution": Rule("BuilderFlag.STRIP_PLAN", "Strip refittable weights from the engine plan file."),
    "engine idle while refitted": Rule("Refitter.refit_cuda_engine", "The behavior is undefined if the engine has pending enqueued work."),
    "refittable asked of the builder": Rule("BuilderFlag.REFIT", "Enable building a refittable engine"),
}

_violations: list[Violation] = []


def broken(rule: str, reports: Reports, call: str, detail: str, code: str = "INVALID_ARGUMENT") -> None:
    """Report an error as TensorRT does, and remember the violation.

    Args:
        rule: a name in `RULES`.
        reports: of the object that was called.
        call: as TensorRT's log names it, `IExecutionContext::enqueueV3`.
        detail: what is wrong.
        code: a member of `ErrorCodeTRT`.
    """
    assert rule in RULES, rule
    _violations.append(Violation(rule, call, detail))
    reports.error(call, detail, code)


def violations() -> tuple[Violation, ...]:
    """What was broken since the start, or since `forget_violations`."""
    return tuple(_violations)


def forget_violations() -> None:
    """Go on as if nothing had been broken."""
    _violations.clear()
