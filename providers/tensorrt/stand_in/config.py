"""What the builder is told: flags, limits, profiles, and who watches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxgpu.providers.tensorrt.stand_in import gpu
from onnxgpu.providers.tensorrt.stand_in.flags import Flags
from onnxgpu.providers.tensorrt.stand_in.order import broken
from onnxgpu.providers.tensorrt.stand_in.profile import OptimizationProfile
from onnxgpu.providers.tensorrt.stand_in.registry import enum, implements, major
from onnxgpu.providers.tensorrt.stand_in.reports import Reports
from onnxgpu.providers.tensorrt.stand_in.timing_cache import TimingCache

_KIB = 1 << 10
_DLA_POOLS = {"DLA_MANAGED_SRAM": 1 << 20, "DLA_LOCAL_DRAM": 1 << 30, "DLA_GLOBAL_DRAM": 1 << 29}


@implements("IBuilderConfig")
class BuilderConfig(Flags):
    """A configuration with TensorRT's defaults."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self.reset()

    def reset(self) -> None:
        """Back to the defaults; TF32 is on, as it is in TensorRT."""
        self.flags = 1 << int(enum("BuilderFlag").TF32)
        self.avg_timing_iterations = 1
        self.builder_optimization_level = 3
        self.max_aux_streams = -1
        self.max_num_tactics = -1
        self.profile_stream = 0
        self.l2_limit_for_tiling = -1
        self.DLA_core = -1
        self.plugins_to_serialize: Sequence[str] = ()
        self.remote_auto_tuning_config = ""
        self.build_route = ""
        self.progress_monitor: Any = None
        self.algorithm_selector: Any = None
        self.int8_calibrator: Any = None
        self.quantization_flags = 0
        self.engine_capability = enum("EngineCapability").STANDARD
        self.default_device_type = enum("DeviceType").GPU
        self.profiling_verbosity = enum("ProfilingVerbosity").LAYER_NAMES_ONLY
        self.hardware_compatibility_level = enum("HardwareCompatibilityLevel").NONE
        self.runtime_platform = enum("RuntimePlatform").SAME_AS_BUILD
        self.tiling_optimization_level = enum("TilingOptimizationLevel").NONE
        self._pools: dict[str, int] = {}
        self._features: dict[str, bool] = {}
        self._tactics = (1 << len(enum("TacticSource").__members__)) - 1
        self._device_types: dict[str, Any] = {}
        self._cache: TimingCache | None = None
        self.profiles: list[OptimizationProfile] = []

    @property
    def all_build_routes(self) -> str:
        """The stand-in has one way to build."""
        return ""

    def has(self, name: str) -> bool:
        """Whether the flag with this name is on; False in a version without it."""
        flag = getattr(enum("BuilderFlag"), name, None)
        return flag is not None and self.get_flag(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Bytes; a size that does not fit is reported and leaves the limit as it is."""
        call = "IBuilderConfig::setMemoryPoolLimit"
        name = pool.name
        if name in _DLA_POOLS and (pool_size < 4 * _KIB or (name == "DLA_MANAGED_SRAM" and pool_size & (pool_size - 1))):
            self._reports.error(call, f"{name}: {pool_size} is not at least 4 KiB, or no power of 2")
        elif name == "TACTIC_SHARED_MEMORY" and pool_size >= 1 << 30:
            self._reports.error(call, f"{name}: {pool_size} is not less than 1 GiB")
        else:
            self._pools[name] = min(pool_size, gpu.memory()) if name == "WORKSPACE" else pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        """Bytes."""
        return self._pools.get(pool.name, _DLA_POOLS.get(pool.name, gpu.memory()))

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        """Turn a feature on or off."""
        self._features[feature.name] = enable

    def get_preview_feature(self, feature: Any) -> bool:
        """Whether it is on."""
        return self._features.get(feature.name, False)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """A bit for each; False for bits that are none."""
        if tactic_sources >> len(enum("TacticSource").__members__):
            self._reports.error("IBuilderConfig::setTacticSources", f"{tactic_sources:#x} has bits that are no tactic source")
            return False
        self._tactics = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        """A bit for each."""
        return self._tactics

    def create_timing_cache(self, serialized_timing_cache: Any) -> TimingCache | None:
        """From the bytes of one, an empty one of no bytes."""
        return TimingCache.restored(bytes(memoryview(serialized_timing_cache)), self._reports, gpu.platform())

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Use a cache; one of another version, or of another GPU, is refused."""
        if not cache.fits_here(ignore_mismatch, gpu.platform()):
            self._reports.error(
                "IBuilderConfig::setTimingCache", f"the cache is of TensorRT {cache.version} on {cache.platform}", "INVALID_STATE"
            )
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        """The cache that is used; after a build without one, the one that the build made."""
        return self._cache

    def timing_cache(self) -> TimingCache:
        """As `get_timing_cache`, made if there is none."""
        if self._cache is None:
            self._cache = TimingCache(self._reports, gpu.platform())
        return self._cache

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        """The index, or -1."""
        if not profile:
            broken("profile is valid", self._reports, "IBuilderConfig::addOptimizationProfile", "the profile is not valid")
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        """How many were added."""
        return len(self.profiles)

    def set_device_type(self, layer: Any, device_type: Any) -> None:
        """Where a layer runs."""
        self._device_types[layer.name] = device_type

    def get_device_type(self, layer: Any) -> Any:
        """Where it runs."""
        return self._device_types.get(layer.name, self.default_device_type)

    def is_device_type_set(self, layer: Any) -> bool:
        """Whether it was set."""
        return layer.name in self._device_types

    def reset_device_type(self, layer: Any) -> None:
        """Back to the default."""
        self._device_types.pop(layer.name, None)

    def can_run_on_DLA(self, layer: Any) -> bool:
        """Never: the emulated GPU has no DLA."""
        return False

    def problem(self) -> str | None:
        """What does not go together; None if all does."""
        if self.has("EXCLUDE_LEAN_RUNTIME") and not self.has("VERSION_COMPATIBLE"):
            return "EXCLUDE_LEAN_RUNTIME needs VERSION_COMPATIBLE"
        if sum(self.has(name) for name in ("REFIT", "REFIT_IDENTICAL", "REFIT_INDIVIDUAL")) > 1:
            return "REFIT, REFIT_IDENTICAL and REFIT_INDIVIDUAL exclude each other"
        if self.default_device_type.name == "DLA" and not self.has("GPU_FALLBACK"):
            return "Default DLA is enabled but no DLA core is available and GPU_FALLBACK is off"
        if not 0 <= self.builder_optimization_level <= 5:
            return f"builder_optimization_level is {self.builder_optimization_level}, not between 0 and 5"
        if self.hardware_compatibility_level.name == "AMPERE_PLUS" and gpu.capability() < 80:
            return "AMPERE_PLUS is only supported for engines built on NVIDIA Ampere and later GPUs"
        return None

    def reduced_precision(self) -> str | None:
        """A flag that a strongly typed network of 10 refuses; None if there is none."""
        names = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")
        return next((name for name in names if major() < 11 and self.has(name)), None)
