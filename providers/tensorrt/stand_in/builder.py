"""Builder: networks and configurations in, engines as bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.building import build
from onnxgpu.providers.tensorrt.stand_in.config import BuilderConfig
from onnxgpu.providers.tensorrt.stand_in.host_memory import HostMemory
from onnxgpu.providers.tensorrt.stand_in.network import Network
from onnxgpu.providers.tensorrt.stand_in.plugins import PluginRegistry, get_plugin_registry
from onnxgpu.providers.tensorrt.stand_in.profile import OptimizationProfile
from onnxgpu.providers.tensorrt.stand_in.progress import Canceled
from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements
from onnxgpu.providers.tensorrt.stand_in.reports import Reporting, Reports

if TYPE_CHECKING:
    from onnxgpu.providers.tensorrt.stand_in.engine import Engine


@implements("Builder")
class Builder(Reporting):
    """Builds engines for the emulated GPU.

    Args:
        logger: where it and what it makes report.
    """

    num_DLA_cores = 0
    max_DLA_batch_size = 0
    platform_has_fast_fp16 = True
    platform_has_fast_int8 = True
    platform_has_tf32 = True

    def __init__(self, logger: Any) -> None:
        gpu.device()
        self.reports = Reports(logger)
        self.gpu_allocator: Any = None
        self.max_threads = 0

    def create_network(self, flags: int = 0) -> Network | None:
        """An empty network; None, with an error in the log, for flags that there are not."""
        if flags >> (max(map(int, enum("NetworkDefinitionCreationFlag").__members__.values())) + 1):
            self.reports.error("IBuilder::createNetworkV2", f"{flags:#x} has bits that are no NetworkDefinitionCreationFlag")
            return None
        return Network(self, flags, self.reports.of_part())

    def create_builder_config(self) -> BuilderConfig:
        """With the defaults."""
        return BuilderConfig(self.reports.of_part())

    def create_optimization_profile(self) -> OptimizationProfile:
        """An empty one."""
        return OptimizationProfile(self.reports.of_part())

    def build_serialized_network(self, network: Network, config: BuilderConfig, kernel_text: Any = None) -> HostMemory | None:
        """The engine as bytes; None if it was not built, with the reason in the log."""
        try:
            plan = build(network, config, self.reports)
        except Canceled:
            self.reports.error("IBuilder::buildSerializedNetwork", "The build was canceled by the progress monitor", "INTERNAL_ERROR")
            return None
        return None if plan is None else HostMemory(plan.serialized())

    def build_engine_with_config(self, network: Network, config: BuilderConfig) -> Engine | None:
        """The engine, ready for contexts."""
        from onnxgpu.providers.tensorrt.stand_in.runtime import Runtime

        serialized = self.build_serialized_network(network, config)
        return None if serialized is None else Runtime(self.logger).deserialize_cuda_engine(serialized.content)

    def build_serialized_network_to_stream(self, network: Network, config: BuilderConfig, writer: Any) -> bool:
        """The engine's bytes, to an `IStreamWriter`."""
        serialized = self.build_serialized_network(network, config)
        return serialized is not None and writer.write(serialized.content) == len(serialized.content)

    def is_network_supported(self, network: Network, config: BuilderConfig) -> bool:
        """Whether a network is within what the configuration allows."""
        problem = config.problem()
        if problem is not None:
            self.reports.error("IBuilder::isNetworkSupported", problem, "INVALID_CONFIG")
        return problem is None and network.num_outputs > 0

    def reset(self) -> None:
        """Back to the defaults."""
        self.max_threads, self.gpu_allocator = 0, None

    def get_plugin_registry(self) -> PluginRegistry:
        """The process's."""
        return get_plugin_registry()
