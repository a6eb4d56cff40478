"""From the list of providers a program names to the providers its session uses; nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxgpu import discovery, knobs, provider_override
from onnxgpu.caller import warn
from onnxgpu.ep_devices import chosen_by
from onnxgpu.errors import EPFail, InvalidArgument, ProviderFallbackWarning
from onnxgpu.metadata import ModelMetadata
from onnxgpu.options import OrtExecutionProviderDevicePolicy, SessionOptions, checked_provider_options
from onnxgpu.provider import Provider
from onnxgpu.provider_override import Requested

ONNXRUNTIME_PROVIDERS = (
    "TensorrtExecutionProvider",
    "NvTensorRTRTXExecutionProvider",
    "CUDAExecutionProvider",
    "MIGraphXExecutionProvider",
    "ROCMExecutionProvider",
    "OpenVINOExecutionProvider",
    "DnnlExecutionProvider",
    "VitisAIExecutionProvider",
    "QNNExecutionProvider",
    "NnapiExecutionProvider",
    "VSINPUExecutionProvider",
    "JsExecutionProvider",
    "CoreMLExecutionProvider",
    "ArmNNExecutionProvider",
    "ACLExecutionProvider",
    "DmlExecutionProvider",
    "RknpuExecutionProvider",
    "WebNNExecutionProvider",
    "WebGpuExecutionProvider",
    "XnnpackExecutionProvider",
    "CANNExecutionProvider",
    "AzureExecutionProvider",
    "CPUExecutionProvider",
)
"""Names that programs written for onnxruntime use; one that onnxgpu does not have counts as not available."""


DEVICE = "device_id"
"""The option that every provider with memory of its own has."""

_PREFER_GPU = (OrtExecutionProviderDevicePolicy.PREFER_GPU, OrtExecutionProviderDevicePolicy.MAX_PERFORMANCE)
"""Policies that take every available provider; the others end on the CPU, as no provider here has an NPU."""


@dataclass(frozen=True)
class Selection:
    """The providers of a session.

    Attributes:
        providers: in order of preference.
        unavailable: those that are not available here, with the cause.
        replaced: those of them that were asked for by name, so that another stands in for them.
    """

    providers: tuple[Provider, ...]
    unavailable: tuple[tuple[str, str], ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """Names as `InferenceSession.get_providers` gives them: without the last resort."""
        return [provider.label for provider in self.providers if not provider.last_resort]


def select(
    requested: Sequence[Requested] | None,
    provider_options: Sequence[Mapping[Any, Any]] | None = None,
    *,
    strict: bool = False,
    forbid_fallback: bool = False,
) -> Selection:
    """The providers to use.

    Two entries of one name are two providers if their devices differ: `(name, {"device_id": 1})`, or `"name:1"` for short.

    Args:
        requested: names or (name, options), in order of preference; None: those available that need not be named.
        provider_options: one mapping for each name, if the names are given without options.
        strict: raise where a requested provider is not available.
        forbid_fallback: do not add the fallback provider to the list.

    Raises:
        InvalidArgument: a name nobody knows, or an option that is unknown or of the wrong type.
        EPFail: strict, and a requested provider is not available; or nothing is left to run on.
    """
    known = discovery.providers()
    instead = provider_override.override()
    if instead is not None:
        requested, provider_options = instead, None
    pairs = _pairs(known, requested, provider_options)
    chosen: list[Provider] = []
    missing: list[tuple[str, str]] = []
    for name, options in pairs:
        provider = known.get(name)
        parsed = checked_provider_options(provider, options) if provider else {}
        cause = (
            provider.unavailable()
            if provider
            else f"onnxgpu {'has none of that name' if name in ONNXRUNTIME_PROVIDERS else 'does not know it'}"
        )
        if cause is None and provider is not None:
            chosen.append(provider(parsed))
        elif name not in dict(missing):
            missing.append((name, cause or ""))
    if not forbid_fallback:
        names = {provider.name for provider in chosen}
        chosen += [cls() for name, cls in known.items() if cls.fallback and name not in names]
        chosen += [cls() for name, cls in known.items() if cls.last_resort and name not in names]
    for index, joining in enumerate(chosen):
        joining.has_namesake = any(other.name == joining.name for other in chosen[:index])
        joining.join(chosen[:index])
    _report(missing, chosen, strict)
    replaced = tuple(missing)
    if requested is None:
        missing += [
            (name, cause) for name, cls in known.items() if cls.listed and cls.used_unasked and (cause := cls.unavailable()) is not None
        ]
    return Selection(tuple(chosen), tuple(dict(missing).items()), replaced)


def checked_providers(requested: Sequence[Requested]) -> Sequence[Requested]:
    """`requested`, after the checks that need no session.

    Raises:
        InvalidArgument: a name nobody knows, or an option that is unknown or of the wrong type.
    """
    known = discovery.providers()
    for name, options in _pairs(known, requested, None):
        if name in known:
            checked_provider_options(known[name], options)
    return requested


def check_and_normalize_provider_args(
    providers: Sequence[Requested] | None, provider_options: Sequence[Mapping[Any, Any]] | None, available_provider_names: Sequence[str]
) -> tuple[list[str], list[dict[str, str]]]:
    """Names and options as texts, after the checks of a session's list; a provider that is not available is a warning.

    Args:
        providers: names or (name, options).
        provider_options: one mapping for each name.
        available_provider_names: what counts as available.

    Raises:
        InvalidArgument: a malformed entry, or a name nobody knows.
    """
    pairs = [] if providers is None else _pairs(discovery.providers(), providers, provider_options)
    for name, _ in pairs:
        if name not in available_provider_names:
            listed = ", ".join(available_provider_names)
            warn(f"Specified provider '{name}' is not in available provider names. Available providers: '{listed}'", UserWarning)
    return [name for name, _ in pairs], [{str(key): str(value) for key, value in options.items()} for _, options in pairs]


def is_known(name: str) -> bool:
    """True for a provider that is here, or that onnxruntime has."""
    return name in discovery.providers() or name in ONNXRUNTIME_PROVIDERS


def requested_by(options: SessionOptions, metadata: Callable[[], ModelMetadata]) -> Sequence[Requested] | None:
    """The providers that `options` ask for where the session is given none; None: those available that need not be named.

    Args:
        options: with providers, a policy or a delegate.
        metadata: reads the model's metadata, for a delegate.

    Raises:
        Fail: the delegate fails, or chooses nothing.
    """
    if options.providers:
        return options.providers
    policy = options.selection_policy
    if policy is None or policy in _PREFER_GPU:
        return None
    if isinstance(policy, OrtExecutionProviderDevicePolicy):
        return [name for name, provider in discovery.providers().items() if provider.fallback]
    return chosen_by(policy, metadata())


def _pairs(
    known: Mapping[str, type[Provider]], requested: Sequence[Requested] | None, provider_options: Sequence[Mapping[Any, Any]] | None
) -> list[tuple[str, Mapping[Any, Any]]]:
    if requested is None:
        default = [(name, cls) for name, cls in known.items() if cls.listed and cls.used_unasked and not cls.last_resort]
        return [(name, {}) for name, cls in default if cls.unavailable() is None]
    if provider_options is not None and len(provider_options) != len(requested):
        counts = f"got {len(requested)} providers and {len(provider_options)} option mappings"
        raise InvalidArgument(f"'providers' and 'provider_options' should be the same length if both are given; {counts}")
    pairs: dict[tuple[str, int], Mapping[Any, Any]] = {}
    for index, item in enumerate(requested):
        name, options = _name_and_options(item)
        name, number = _name_and_device(name, known)
        if provider_options is not None:
            if options:
                raise InvalidArgument(f"provider {name!r} has options in its tuple and in 'provider_options'; give them once")
            options = provider_options[index]
            if not isinstance(options, Mapping):
                raise InvalidArgument(f"'provider_options' values must be dicts, got {options!r} for {name!r}")
        if name not in known and name not in ONNXRUNTIME_PROVIDERS:
            raise InvalidArgument(
                f"Unknown Provider Type: {name}. Known here: {', '.join(known)}; a plug-in provider must be installed first"
            )
        if number is not None:
            options = {DEVICE: number, **options}
            if _device(options) != number:
                raise InvalidArgument(f"provider {name}:{number} has {DEVICE} {options[DEVICE]!r} in its options; give one device")
        key = name, _device(options) if name in known and known[name].memory else 0
        if key in pairs:
            warn(f"Duplicate provider '{name}' encountered, ignoring.", UserWarning)
            continue
        pairs[key] = options
    return [(name, options) for (name, _), options in pairs.items()]


def _name_and_device(text: str, known: Mapping[str, type[Provider]]) -> tuple[str, int | None]:
    """`NAME:1` is the provider NAME on its device 1."""
    name, _, number = text.partition(":")
    has_device = name in known and known[name].memory is not None and number.isdecimal()
    return (name, int(number)) if has_device else (text, None)


def _device(options: Mapping[Any, Any]) -> int:
    """The number of the device; 0 for what is none, of which the check of the options tells."""
    try:
        return int(options.get(DEVICE, 0))
    except (TypeError, ValueError):
        return 0


def _name_and_options(item: Any) -> tuple[str, Mapping[Any, Any]]:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Mapping):
        return item[0], item[1]
    raise InvalidArgument(f"'providers' values must be either strings or (string, dict) tuples, got {item!r}")


def _report(missing: Sequence[tuple[str, str]], chosen: Sequence[Provider], strict: bool) -> None:
    if not chosen:
        causes = "; ".join(f"{name}: {cause}" for name, cause in missing) or "the list is empty"
        raise EPFail(
            f"no execution provider is left to run on ({causes}), and falling back was forbidden by session.disable_cpu_ep_fallback"
        )
    if not missing:
        return
    causes = "; ".join(f"{name} is not available: {cause}" for name, cause in missing)
    if strict:
        asked = f"{knobs.STRICT.name}=1, session.disable_cpu_ep_fallback or disabled fallback"
        raise EPFail(f"{causes}. Strict mode ({asked}) forbids going on without; run `onnxgpu doctor`")
    message = f"{causes}. {chosen[0].name} takes over; `onnxgpu doctor` tells what is missing, {knobs.STRICT.name}=1 makes this an error"
    warn(message, ProviderFallbackWarning)
