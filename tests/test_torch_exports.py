"""Models that torch.onnx writes, with its exporter of graphs and with its older one of TorchScript, give what torch gives."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu

torch = pytest.importorskip("torch", reason="torch is not installed (extra `bench`)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra `bench`)")
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.slow

CPU = ["CPUExecutionProvider"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the exporters warn of is theirs."""
    torch.manual_seed(0)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def exported(module: Any, inputs: tuple[Any, ...], *, dynamo: bool, dynamic: bool = False) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(len(inputs))]
    axes: dict[str, Any] = {}
    if dynamic and dynamo:
        free = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
        axes["dynamic_shapes"] = (free,) if isinstance(module, Function) else free
    elif dynamic:
        axes["dynamic_axes"] = {name: {0: "batch"} for name in names}
    if dynamo:
        model: onnx.ModelProto = torch.onnx.export(module, inputs, input_names=names, dynamo=True, verbose=False, **axes).model_proto
        return model
    file = io.BytesIO()
    torch.onnx.export(module, inputs, file, input_names=names, dynamo=False, opset_version=18, **axes)
    return onnx.load_model_from_string(file.getvalue())


def compare(model: onnx.ModelProto, module: Any, inputs: tuple[Any, ...]) -> None:
    """One session's outputs for inputs, with those of the module; dtypes and shapes too."""
    session = onnxgpu.InferenceSession(model, providers=CPU)
    assert {assignment.provider.name for assignment in session.placement.assignments.values()} <= {"CPUExecutionProvider"}
    feeds = {entry.name: inputs[int(entry.name[1:])].numpy() for entry in session.get_inputs()}
    expected = module(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    actual = session.run(None, feeds)
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == theirs.numpy().dtype
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4)


class Function(nn.Module):  # type: ignore[misc, name-defined]
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


class First(nn.Module):  # type: ignore[misc, name-defined]
    """A recurrent module's outputs, its nested states flat."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        output, state = self.inner(x)
        return (output, *state) if isinstance(state, tuple) else (output, state)


def floats(*shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def pools() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding="same", dilation=2),
        nn.BatchNorm2d(6),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect", groups=3),
        nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
        nn.InstanceNorm2d(4, affine=True),
        nn.LPPool2d(2, 2),
        nn.AdaptiveAvgPool2d((2, 2)),
        nn.Flatten(),
    )


def convolutions() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, padding_mode="replicate", groups=3),
        nn.GroupNorm(2, 6),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1),
        nn.AvgPool2d(3, 2, padding=1),
        nn.PReLU(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def resized_by_script(x: Any) -> Any:
    """What the older exporter can write of Resize."""
    found = [F.interpolate(x, scale_factor=1.5, mode="nearest")]
    for mode in ("bilinear", "bicubic"):
        found += [F.interpolate(x, size=(13, 5), mode=mode, align_corners=aligned) for aligned in (False, True)]
    return tuple(found)


def modes(x: Any) -> Any:
    return tuple(F.pad(x, (1, 2, 2, 1), mode=mode) for mode in ("constant", "reflect", "replicate", "circular"))


def resized(x: Any) -> Any:
    return F.interpolate(x, size=(5, 9), mode="area"), F.interpolate(x, scale_factor=0.5, mode="nearest-exact"), *resized_by_script(x)


def antialiased(x: Any) -> Any:
    return F.interpolate(x, size=(4, 5), mode="bilinear", antialias=True), F.interpolate(x, size=(4, 5), mode="bicubic", antialias=True)


def gathered(x: Any, index: Any) -> Any:
    rows = torch.gather(x, 1, index)
    scattered = torch.scatter(x, 1, index, rows * 2)
    added = torch.scatter_add(x, 1, index, rows)
    most = torch.scatter_reduce(x, 1, index, rows + 1, reduce="amax")
    return rows, scattered, added, most, torch.index_select(x, 0, index[0]), x[index[:, 0]], x[:, index[0]]


def put(x: Any, index: Any) -> Any:
    changed = x.clone()
    changed[index[0]] = 3.0
    return changed, torch.index_put(x, (index[0],), x[: index.shape[1]], accumulate=True), torch.masked_fill(x, x > 0, -1.0)


def ordered(x: Any) -> Any:
    values, places = torch.topk(x, 3, dim=1)
    least, _ = torch.topk(x, 2, dim=0, largest=False)
    sort, order = torch.sort(x, dim=-1, descending=True)
    return values, places, least, sort, order, torch.argmax(x, 1), torch.cumsum(x, 1), torch.nonzero(x > 0)


def products(x: Any, y: Any) -> Any:
    return torch.einsum("bij,bjk->bik", x, y), torch.einsum("bij,bkj->bik", x, x), torch.einsum("bij->ji", x), torch.bmm(x, y)


def attention(x: Any) -> Any:
    q = x.reshape(x.shape[0], 4, 2, 8).transpose(1, 2)
    return F.scaled_dot_product_attention(q, q, q), F.scaled_dot_product_attention(q, q, q, is_causal=True)


def reductions(x: Any) -> Any:
    return (
        torch.logsumexp(x, 1),
        torch.var(x, 1),
        torch.std_mean(x, 0)[0],
        torch.norm(x, p=1, dim=1),
        torch.prod(x, 1),
        torch.amax(x, (0, 1)),
        torch.any(x > 2, 1),
    )


def elements(x: Any) -> Any:
    return (
        F.gelu(x),
        F.gelu(x, approximate="tanh"),
        F.silu(x),
        F.mish(x),
        F.hardswish(x),
        F.elu(x),
        F.celu(x, 2.0),
        F.selu(x),
        F.softplus(x, 2.0),
        F.log_softmax(x, 1),
        torch.remainder(x, 0.7),
        torch.fmod(x, 0.7),
        torch.round(x * 4),
        torch.erf(x),
        torch.atan2(x, x.flip(1)),
        torch.tril(x),
        torch.roll(x, 2, 1),
        torch.where(x > 0, x, -x),
        torch.clamp(x, -0.5, 0.5),
    )


def floors(x: Any) -> Any:
    return torch.floor_divide(x, 0.7), torch.floor_divide(x, -0.3)


def spectrum(x: Any) -> Any:
    return (
        torch.view_as_real(torch.fft.fft(x)),
        torch.view_as_real(torch.fft.rfft(x, dim=1)),
        torch.fft.irfft(torch.fft.rfft(x, dim=1), dim=1),
    )


def short_spectrum(x: Any) -> Any:
    return torch.view_as_real(torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True))


def quantized(x: Any) -> Any:
    return torch.fake_quantize_per_tensor_affine(x, 0.05, 3, -128, 127)


def sampled(x: Any) -> Any:
    theta = torch.tensor([[[0.8, 0.2, 0.1], [-0.2, 0.9, 0.0]]]).expand(x.shape[0], 2, 3)
    grid = F.affine_grid(theta, [2, 3, 8, 10], align_corners=False)
    return tuple(F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False) for mode in ("bilinear", "nearest"))


class Branch(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return torch.cond(x.sum() > 0, lambda y: y.sin() + 1, lambda y: y.cos() - 1, (x,))


INDEX = torch.tensor([[0, 2, 1], [3, 0, 2], [1, 1, 0], [2, 3, 3]])
DISTINCT = torch.tensor([[0, 2, 1], [3, 0, 2], [1, 2, 0], [2, 3, 1]])
MODULES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pools": (pools, (floats(2, 3, 17, 19),)),
    "convolutions": (convolutions, (floats(2, 3, 17, 19),)),
    "sizes": (lambda: Function(resized_by_script), (floats(2, 3, 8, 10),)),
    "pads": (lambda: Function(modes), (floats(2, 3, 6, 7),)),
    "resized": (lambda: Function(resized), (floats(2, 3, 8, 10),)),
    "antialiased": (lambda: Function(antialiased), (floats(2, 3, 8, 10),)),
    "lstm": (lambda: First(nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=True)), (floats(2, 7, 5),)),
    "gru": (lambda: First(nn.GRU(5, 6, bidirectional=True)), (floats(7, 2, 5),)),
    "rnn": (lambda: First(nn.RNN(5, 6, nonlinearity="relu")), (floats(7, 2, 5),)),
    "transformer": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True), (floats(2, 5, 16),)),
    "decoder": (lambda: nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), (floats(2, 5, 16), floats(2, 3, 16))),
    "attention": (lambda: Function(attention), (floats(2, 4, 16),)),
    "embedding": (lambda: nn.Sequential(nn.Embedding(10, 6, padding_idx=0), nn.LayerNorm(6)), (INDEX,)),
    "bag": (lambda: nn.EmbeddingBag(10, 6, mode="mean"), (INDEX,)),
    "gathered": (lambda: Function(gathered), (floats(4, 5), DISTINCT)),
    "put": (lambda: Function(put), (floats(4, 5), INDEX)),
    "ordered": (lambda: Function(ordered), (floats(4, 5),)),
    "products": (lambda: Function(products), (floats(2, 3, 4), floats(2, 4, 5))),
    "reductions": (lambda: Function(reductions), (floats(4, 5),)),
    "elements": (lambda: Function(elements), (floats(4, 5),)),
    "floors": (lambda: Function(floors), (floats(4, 5),)),
    "spectrum": (lambda: Function(spectrum), (floats(3, 12),)),
    "short spectrum": (lambda: Function(short_spectrum), (floats(2, 64),)),
    "quantized": (lambda: Function(quantized), (floats(4, 5),)),
    "sampled": (lambda: Function(sampled), (floats(2, 3, 8, 10),)),
    "branch": (Branch, (floats(4, 5),)),
}


# What torch's older exporter refuses to write, fails at, or (floors) writes as a truncation: onnxruntime gives that too.
GRAPH_ONLY = {"pools", "resized", "antialiased", "transformer", "decoder", "floors", "spectrum", "short spectrum", "sampled", "branch"}
WRITTEN = [(name, dynamo) for name in MODULES for dynamo in (True, False) if dynamo or name not in GRAPH_ONLY]
FREE = ["pools", "resized", "convolutions", "lstm", "transformer", "attention", "embedding", "products", "ordered"]
WRITTEN_FREE = [(name, dynamo) for name, dynamo in WRITTEN if name in FREE]


def named(pairs: list[tuple[str, bool]]) -> list[str]:
    return [f"{name}-{'graph' if dynamo else 'script'}" for name, dynamo in pairs]


@pytest.mark.parametrize(("name", "dynamo"), WRITTEN, ids=named(WRITTEN))
def test_modules(name: str, dynamo: bool) -> None:
    make, inputs = MODULES[name]
    module = make().eval()
    compare(exported(module, inputs, dynamo=dynamo), module, inputs)


@pytest.mark.parametrize(("name", "dynamo"), WRITTEN_FREE, ids=named(WRITTEN_FREE))
def test_other_sizes_of_a_free_axis(name: str, dynamo: bool) -> None:
    make, inputs = MODULES[name]
    module = make().eval()
    model = exported(module, inputs, dynamo=dynamo, dynamic=True)
    for times in (1, 2):
        compare(model, module, tuple(torch.cat([entry] * times) for entry in inputs))


def halving(x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
    for i in range(x.size(0)):
        x = x * 0.5 + float(i) if i % 2 == 0 else x - 1.0
    return x


def test_loop_of_a_script() -> None:
    module = Function(torch.jit.script(halving))
    model = exported(module, (floats(4, 5),), dynamo=False, dynamic=True)
    assert any(node.op_type == "Loop" for node in model.graph.node)
    for count in (1, 6):
        compare(model, module, (floats(count, 5),))
