"""The stand-in of `tensorrt` refuses what the real bindings refuse."""

import pytest

from onnxgpu.providers.tensorrt.stand_in.surface import api, module


@pytest.mark.parametrize("version", api.VERSIONS)
def test_enums_are_pybind11s(version: str) -> None:
    tensorrt = module.make(api.load(version), {})
    FLOAT = tensorrt.DataType.FLOAT
    assert (FLOAT.name, FLOAT.value, int(FLOAT), str(FLOAT), repr(FLOAT)) == ("FLOAT", 0, 0, "DataType.FLOAT", "<DataType.FLOAT: 0>")
    assert FLOAT == tensorrt.float32 == tensorrt.DataType(0)
    assert FLOAT != 0
    assert tensorrt.ActivationType(0) != FLOAT
    with pytest.raises(TypeError, match="unsupported operand"):
        tensorrt.BuilderFlag.TF32 | tensorrt.BuilderFlag.DEBUG
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        tensorrt.DataType("FLOAT")


def test_a_member_of_one_version_is_not_in_the_other() -> None:
    old, new = (module.make(api.load(version), {}) for version in ("10.13", "11.4"))
    assert hasattr(old.BuilderFlag, "FP16") and not hasattr(new.BuilderFlag, "FP16")
    assert hasattr(old, "IInt8EntropyCalibrator") and not hasattr(new, "IInt8EntropyCalibrator")
    assert not hasattr(old.INetworkDefinition, "add_moe") and hasattr(new.INetworkDefinition, "add_moe")
