"""The options of the TensorRT provider: profiles and settings as text, and what is said of values that have no meaning."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from onnxgpu.errors import InvalidArgument, NotImplemented
from onnxgpu.providers.tensorrt import settings as settings_module
from onnxgpu.providers.tensorrt.provider import TensorrtProvider
from onnxgpu.providers.tensorrt.settings import BuildSettings, settings_of


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trt_builder_optimization_level": 6}, "'trt_builder_optimization_level' .* wants 0 to 5; got 6"),
        ({"trt_max_workspace_size": -1}, "'trt_max_workspace_size' .* from 0 on; got -1"),
        ({"trt_auxiliary_streams": -2}, "'trt_auxiliary_streams' .* from -1 on; got -2"),
        ({"trt_dla_core": -1}, "'trt_dla_core' .* from 0 on; got -1"),
        ({"trt_weight_streaming_budget": -2}, "'trt_weight_streaming_budget' .* from -1 on; got -2"),
        ({"trt_tactic_sources": "CUDNN"}, "'trt_tactic_sources' .* with \\+ or - in front"),
    ],
)
def test_an_ill_value_is_told_with_the_option(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        TensorrtProvider(options)


def test_settings_travel_to_another_process_and_tell_engines_apart() -> None:
    settings = settings_of({"trt_tactic_sources": "-CUDNN,+jit_convolutions", "trt_extra_plugin_lib_paths": "a.so;b.so"}, 1)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings.tactic_sources == (("CUDNN", False), ("JIT_CONVOLUTIONS", True)) and settings.plugins == ("a.so", "b.so")
    assert (
        settings.facts()
        == settings_of({"trt_tactic_sources": "-CUDNN,+JIT_CONVOLUTIONS", "trt_extra_plugin_lib_paths": "a.so;b.so"}, 0).facts()
    )
    assert settings.facts() != BuildSettings().facts()
    assert not BuildSettings().tf32


def test_an_option_without_effect_says_so_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(settings_module, "_told", set())
    with caplog.at_level(logging.WARNING, "onnxgpu"):
        for _ in range(2):
            TensorrtProvider({"trt_build_heuristics_enable": True, "trt_load_user_initializer": False})
    (record,) = caplog.records
    assert "trt_build_heuristics_enable has no effect" in record.getMessage()


def test_engines_are_not_kept_unencrypted_by_one_who_asks_for_encryption() -> None:
    with pytest.raises(NotImplemented, match="unset trt_engine_decryption_enable"):
        TensorrtProvider({"trt_engine_decryption_enable": True})
