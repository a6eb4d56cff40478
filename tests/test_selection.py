"""From the names a program lists to the providers of its session: fallback, strictness, options, environment."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

import onnxgpu
from onnxgpu import InferenceSession, ProviderFallbackWarning, SessionOptions, discovery, provider_override
from onnxgpu.errors import EPFail, InvalidArgument, NotImplemented
from onnxgpu.options import checked_provider_options
from onnxgpu.provider import DeviceMemory, Provider
from tests.models import model

CPU = "CPUExecutionProvider"
LOOPBACK = "LoopbackExecutionProvider"
ABSENT = "AbsentExecutionProvider"
MODEL = model("g (float[2] x) => (float[2] y) { y = Neg(x) }").SerializeToString()


class Absent(Provider):
    name = ABSENT
    option_types: ClassVar[Mapping[str, type]] = {"device_id": int, "fraction": float, "fast": bool, "folder": str}
    preference = 1
    memory = DeviceMemory("Absent", device_type=3, vendor_id=0, dlpack_type=16)

    @classmethod
    def unavailable(cls) -> str | None:
        return "libabsent.so not found"


@pytest.fixture(autouse=True)
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """One provider more that is never available, and no settings from outside."""
    known = discovery._all() | {ABSENT: ("absent", Absent)}
    monkeypatch.setattr(discovery, "_all", lambda: known)
    for name in ("ONNXGPU_STRICT", "ONNXGPU_PROVIDERS", "ONNXGPU_PROVIDERS_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def session(providers: Any = None, provider_options: Any = None, **config: str) -> InferenceSession:
    options = SessionOptions()
    for key, value in config.items():
        options.add_session_config_entry(f"session.{key}", value)
    return InferenceSession(MODEL, options, providers, provider_options)


def test_available_and_all_providers() -> None:
    available, known = onnxgpu.get_available_providers(), onnxgpu.get_all_providers()
    assert set(available) <= set(known)
    assert ABSENT in known and ABSENT not in available
    assert available[-1] == CPU
    assert LOOPBACK not in known
    assert onnxgpu.get_device() in ("CPU", "GPU")


def test_no_list_means_all_that_are_available() -> None:
    opened = session()
    assert opened.get_providers() == [name for name in onnxgpu.get_available_providers() if discovery.providers()[name].used_unasked]
    assert dict(opened.unavailable_providers)[ABSENT] == "libabsent.so not found"


@pytest.mark.parametrize(
    ("providers", "names"),
    [
        ([], [CPU]),
        ([CPU], [CPU]),
        ((CPU,), [CPU]),
        (CPU, [CPU]),
        ([LOOPBACK], [LOOPBACK, CPU]),
        ([CPU, LOOPBACK], [CPU, LOOPBACK]),
        ([(LOOPBACK, {}), [CPU, {}]], [LOOPBACK, CPU]),
    ],
)
def test_the_list_is_kept_and_the_cpu_is_added(providers: Any, names: list[str]) -> None:
    opened = session(providers)
    assert opened.get_providers() == names
    assert list(opened.get_provider_options()) == names
    assert opened.unavailable_providers == ()


def test_provider_options_are_told_as_text() -> None:
    expected = {LOOPBACK: {"fraction": "0.5", "seed": "3"}, CPU: {}}
    options = {"fraction": "0.5", "seed": 3}
    assert session([(LOOPBACK, options), CPU]).get_provider_options() == expected
    assert session([LOOPBACK, CPU], [options, {}]).get_provider_options() == expected


def test_two_devices_of_one_provider() -> None:
    expected = [LOOPBACK, f"{LOOPBACK}:1", CPU]
    opened = session([(LOOPBACK, {"device_id": 0}), (LOOPBACK, {"device_id": "1", "seed": 3}), CPU])
    assert opened.get_providers() == expected
    assert opened.get_provider_options() == {
        LOOPBACK: {"device_id": "0"},
        f"{LOOPBACK}:1": {"device_id": "1", "seed": "3"},
        CPU: {},
    }
    assert session(opened.get_providers()).get_providers() == expected
    assert session(list(opened.get_provider_options().items())).get_provider_options() == opened.get_provider_options()
    with pytest.raises(InvalidArgument, match=f"provider {LOOPBACK}:1 has device_id '0' in its options; give one device"):
        session([(f"{LOOPBACK}:1", {"device_id": "0"})])
    assert session([f"{LOOPBACK}:1", f"{LOOPBACK}:0"]).get_providers() == [LOOPBACK, f"{LOOPBACK}:0", CPU]


@pytest.mark.parametrize("second", [LOOPBACK, f"{LOOPBACK}:0", (LOOPBACK, {"device_id": "0", "seed": 1})])
def test_a_device_that_is_listed_twice_counts_once(second: Any) -> None:
    with pytest.warns(UserWarning, match=f"Duplicate provider '{LOOPBACK}' encountered, ignoring"):
        assert session([(LOOPBACK, {"device_id": 0}), second, CPU]).get_providers() == [LOOPBACK, CPU]


@pytest.mark.parametrize("name", [f"{CPU}:1", f"{LOOPBACK}:", f"{LOOPBACK}:x", "Nobody:1"])
def test_a_name_with_what_is_no_device(name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"Unknown Provider Type: {name}"):
        session([name])


def test_two_devices_that_are_not_available_are_told_once() -> None:
    with pytest.warns(ProviderFallbackWarning) as caught:
        opened = session([(ABSENT, {"device_id": 0}), (ABSENT, {"device_id": 1}), CPU])
    assert [str(item.message).count("libabsent.so") for item in caught if item.category is ProviderFallbackWarning] == [1]
    assert opened.unavailable_providers == ((ABSENT, "libabsent.so not found"),)


def test_a_provider_that_is_not_available_is_one_warning_with_the_cause() -> None:
    with pytest.warns(ProviderFallbackWarning, match=f"{ABSENT} is not available: libabsent.so not found. {CPU} takes over") as caught:
        opened = session([ABSENT, CPU])
    assert len(caught) == 1
    assert opened.get_providers() == [CPU]
    assert opened.unavailable_providers == ((ABSENT, "libabsent.so not found"),)
    np.testing.assert_array_equal(opened.run(None, {"x": np.ones(2, np.float32)})[0], [-1, -1])


def test_warnings_point_at_the_line_that_makes_the_session() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        InferenceSession(MODEL, providers=[ABSENT, CPU, CPU])
    assert {item.category for item in caught} == {UserWarning, ProviderFallbackWarning}
    assert {item.filename for item in caught} == {__file__}


def test_a_provider_that_onnxruntime_has_and_onnxgpu_lacks() -> None:
    with pytest.warns(ProviderFallbackWarning, match="CoreMLExecutionProvider is not available: onnxgpu has none of that name"):
        assert session(["CoreMLExecutionProvider", CPU]).get_providers() == [CPU]


@pytest.mark.parametrize("how", ["environment", "configuration"])
@pytest.mark.parametrize("name", [ABSENT, "CoreMLExecutionProvider"])
def test_strict_mode_refuses_to_fall_back(how: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("ONNXGPU_STRICT", "1")
    config = {"disable_cpu_ep_fallback": "1"} if how == "configuration" else {}
    with pytest.raises(EPFail, match=f"{name} is not available: .*Strict mode .*run `onnxgpu doctor`"):
        session([name, CPU], **config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert session(None, **config).get_providers() == session().get_providers()


def test_forbidding_the_cpu_keeps_it_out_unless_it_is_listed() -> None:
    assert session([LOOPBACK], disable_cpu_ep_fallback="1").get_providers() == [LOOPBACK]
    assert session([LOOPBACK, CPU], disable_cpu_ep_fallback="1").get_providers() == [LOOPBACK, CPU]
    with pytest.raises(EPFail, match="no execution provider is left to run on"):
        session([], disable_cpu_ep_fallback="1")


def test_a_node_that_no_listed_provider_runs_is_refused_with_every_reason() -> None:
    options = SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    made = model('<ir_version: 8, opset_import: ["" : 20]>\ng (string[2] x) => (string[2] y) { y = StringConcat(x, x) }')
    with pytest.raises(NotImplemented, match=r"StringConcat.*Loopback"):
        InferenceSession(made, options, [LOOPBACK])


@pytest.mark.parametrize(
    ("providers", "options", "words"),
    [
        (["FooExecutionProvider"], None, "Unknown Provider Type: FooExecutionProvider. Known here: .*CPUExecutionProvider.*plug-in"),
        ([3], None, r"values must be either strings or \(string, dict\) tuples, got 3"),
        ([(CPU,)], None, "values must be either strings or"),
        ([(CPU, "text")], None, "values must be either strings or"),
        ([CPU], [], "should be the same length if both are given; got 1 providers and 0"),
        ([CPU], [3], "'provider_options' values must be dicts, got 3 for 'CPUExecutionProvider'"),
        ([(LOOPBACK, {"seed": 1})], [{}], "give them once"),
        ([(CPU, {"no_such": 1})], None, "CPUExecutionProvider has no option 'no_such'; it knows: "),
        ([(LOOPBACK, {"seed": "x"})], None, "option 'seed' of LoopbackExecutionProvider wants int, got 'x'"),
        ([(ABSENT, {"no_such": 1})], None, f"{ABSENT} has no option 'no_such'; it knows: device_id, fast, folder, fraction"),
        ([(ABSENT, {"device_id": "zero"})], None, f"option 'device_id' of {ABSENT} wants int, got 'zero'"),
    ],
)
def test_mistakes_in_the_list_are_named(providers: Any, options: Any, words: str) -> None:
    """Also in the options of a provider that is not available: the mistake is the same on every machine."""
    with pytest.raises(InvalidArgument, match=words):
        session(providers, options)


@pytest.mark.parametrize(
    ("option", "value", "parsed"),
    [
        ("device_id", "1", 1),
        ("device_id", 1.0, 1),
        ("fraction", "0.5", 0.5),
        ("fraction", 1, 1.0),
        ("fast", "True", True),
        ("fast", 0, False),
        ("folder", 3, "3"),
        ("device_id", 1.5, None),
        ("device_id", None, None),
        ("device_id", float("inf"), None),
        ("device_id", "1.0", None),
        ("fraction", "half", None),
        ("fraction", [], None),
        ("fast", "yes", None),
        ("fast", 2, None),
    ],
)
def test_option_types(option: str, value: Any, parsed: Any) -> None:
    """`parsed` is None where the value is refused."""
    if parsed is not None:
        result = checked_provider_options(Absent, {option: value})[option]
        assert (result, type(result)) == (parsed, type(parsed))
    else:
        with pytest.raises(InvalidArgument, match=f"option '{option}' of {ABSENT} wants {Absent.option_types[option].__name__}, got"):
            checked_provider_options(Absent, {option: value})


def test_options_of_providers_that_onnxruntime_has_are_taken_as_they_are() -> None:
    with pytest.warns(ProviderFallbackWarning):
        session([("CoreMLExecutionProvider", {"anything": object()}), CPU])


def test_environment_overrides_the_list(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(provider_override, "_said", set())
    monkeypatch.setenv("ONNXGPU_PROVIDERS", f"{LOOPBACK}, {CPU}")
    assert session([CPU], [{}]).get_providers() == [LOOPBACK, CPU]
    said = f"ONNXGPU_PROVIDERS: sessions use {LOOPBACK},{CPU} in place of the providers that programs name"
    assert caplog.text.count(said) == 1
    session([CPU])
    assert caplog.text.count(said) == 1


def test_environment_leaves_providers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXGPU_PROVIDERS_DISABLED", f"loopback,{ABSENT}")
    assert ABSENT not in onnxgpu.get_all_providers()
    with pytest.raises(InvalidArgument, match="Unknown Provider Type: Loopback"):
        session([LOOPBACK])


def test_an_environment_variable_with_nonsense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXGPU_STRICT", "perhaps")
    with pytest.raises(InvalidArgument, match=r"environment variable ONNXGPU_STRICT='perhaps': expected 0 or 1\. It is 1 to raise where"):
        session([CPU])
