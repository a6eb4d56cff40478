"""Models of Keras and TensorFlow, by Keras's own export and by tf2onnx, give what the frameworks give."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxgpu

pytestmark = pytest.mark.slow

if missing := [name for name in ("keras", "tensorflow", "tf2onnx") if find_spec(name) is None]:
    pytest.skip(f"{', '.join(missing)} not installed (extra `exporters`)", allow_module_level=True)
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    import tensorflow as tf
    import tf2onnx
logging.getLogger("tensorflow").setLevel(logging.ERROR)

CPU = ["CPUExecutionProvider"]
GENERATOR = np.random.default_rng(5)
layers = keras.layers


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the frameworks warn of is theirs."""
    keras.utils.set_random_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def floats(*shape: int) -> np.ndarray:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def integers(count: int, *shape: int) -> np.ndarray:
    return GENERATOR.integers(0, count, shape).astype(np.int32)


def strings(*values: str) -> np.ndarray:
    return np.array(values, object)


def outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    """Of the second run, all by the CPU provider."""
    session = onnxgpu.InferenceSession(model, providers=CPU)
    assert {assignment.provider.name for assignment in session.placement.assignments.values()} == {CPU[0]}
    session.run(None, feeds)
    return list(session.run(None, feeds))


def assert_as(actual: list[Any], expected: Any, tolerance: float = 1e-4) -> None:
    wanted = [np.asarray(value) for value in tf.nest.flatten(expected)]
    assert len(actual) == len(wanted)
    for ours, theirs in zip(actual, wanted, strict=True):
        assert ours.shape == theirs.shape
        if theirs.dtype == object:
            assert ours.tolist() == np.char.decode(theirs.astype(bytes)).tolist()
            continue
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


# Keras


def chain(shape: tuple[int, ...], *inner: Any, dtype: str = "float32") -> Any:
    return keras.Sequential([layers.Input(shape, dtype=dtype), *inner])


def fan(shape: tuple[int, ...], *heads: Callable[[Any], Any]) -> Any:
    """Each of `heads` on the same input."""
    x = layers.Input(shape)
    return keras.Model(x, [head(x) for head in heads])


def dense() -> Any:
    names = ["relu", "selu", "elu", "softplus", "swish", "hard_sigmoid", "leaky_relu", "tanh", "mish", "relu6", "softsign"]
    inner = [layers.Dense(12, activation=name) for name in names]
    return chain((8,), *inner, layers.Dropout(0.3), layers.Dense(3, activation="softmax"))


def convolutions() -> Any:
    return chain(
        IMAGE,
        layers.Conv2D(8, 3, padding="same", strides=2),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(8, 3, padding="same", dilation_rate=2),
        layers.AveragePooling2D(3, 1, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    )


def depthwise() -> Any:
    return chain(
        IMAGE,
        layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        layers.BatchNormalization(),
        layers.SeparableConv2D(6, 3, strides=2, padding="same", activation="relu6"),
        layers.DepthwiseConv2D(3, strides=2),
        layers.GlobalMaxPooling2D(),
    )


def transposed() -> Any:
    return chain(
        IMAGE,
        layers.Conv2DTranspose(6, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(5, 3, strides=2),
        layers.Conv2DTranspose(3, 4, strides=3, padding="same", output_padding=1),
    )


def sequences() -> Any:
    return chain(
        (20, 4),
        layers.Conv1D(6, 3, padding="causal", dilation_rate=2),
        layers.BatchNormalization(),
        layers.MaxPooling1D(2),
        layers.SeparableConv1D(5, 3, padding="same"),
        layers.AveragePooling1D(2, padding="same"),
        layers.Conv1DTranspose(4, 3, strides=2),
        layers.GlobalAveragePooling1D(),
    )


def volumes() -> Any:
    return chain(
        (6, 7, 8, 2),
        layers.Conv3D(4, 3, padding="same"),
        layers.MaxPooling3D(2),
        layers.Conv3DTranspose(3, 2, strides=2),
        layers.AveragePooling3D(2),
        layers.Flatten(),
    )


def both_ways() -> Any:
    inner = layers.Bidirectional(layers.LSTM(6, return_sequences=True))
    return chain((7, 5), inner, layers.Bidirectional(layers.GRU(3), merge_mode="sum"))


def attention() -> Any:
    return fan(
        (7, 8),
        lambda x: layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True),
        lambda x: layers.Attention()([x, x]),
        lambda x: layers.AdditiveAttention()([x, x]),
        lambda x: layers.GroupQueryAttention(4, 4, 2)(x, x),
    )


def normalizations() -> Any:
    inner = [layers.LayerNormalization(), layers.GroupNormalization(4), layers.RMSNormalization(), layers.UnitNormalization()]
    return chain((7, 8), *inner, layers.PReLU(), layers.Softmax(1))


def resized() -> Any:
    sizes = [layers.Resizing(9, 25), layers.Resizing(20, 10, interpolation="nearest"), layers.Resizing(8, 8, crop_to_aspect_ratio=True)]
    modes = [layers.UpSampling2D(2, interpolation=mode) for mode in ("nearest", "bilinear", "bicubic")]
    return fan(IMAGE, *sizes, *modes, layers.UpSampling2D((2, 3)), layers.CenterCrop(8, 9))


def reshaped() -> Any:
    cut = [layers.ZeroPadding2D(((1, 2), (0, 3))), layers.Cropping2D(2), layers.Permute((3, 1, 2)), layers.Reshape((-1, 6))]
    return fan(IMAGE, *cut, lambda x: layers.RepeatVector(3)(layers.Flatten()(x)))


def merged() -> Any:
    x, y = layers.Input((4, 5)), layers.Input((4, 5))
    kinds = [layers.Add(), layers.Subtract(), layers.Multiply(), layers.Average(), layers.Maximum(), layers.Minimum()]
    return keras.Model([x, y], [kind([x, y]) for kind in (*kinds, layers.Concatenate(1), layers.Dot(2, normalize=True))])


def mobile() -> Any:
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=7)


def quantized() -> Any:
    model = chain((8,), layers.Dense(16, activation="relu"), layers.Dense(3))
    model(floats(2, 8))
    model.quantize("int8")
    return model


IMAGE = (16, 18, 3)
STEPS, TOKENS = floats(3, 7, 5), integers(11, 3, 7)
MODELS: dict[str, tuple[Callable[[], Any], list[np.ndarray]]] = {
    "dense": (dense, [floats(3, 8)]),
    "convolutions": (convolutions, [floats(3, *IMAGE)]),
    "depthwise": (depthwise, [floats(3, *IMAGE)]),
    "transposed": (transposed, [floats(3, *IMAGE)]),
    "sequences": (sequences, [floats(3, 20, 4)]),
    "volumes": (volumes, [floats(3, 6, 7, 8, 2)]),
    "lstm": (lambda: chain((7, 5), layers.LSTM(6, return_sequences=True), layers.LSTM(4, go_backwards=True)), [STEPS]),
    "states": (lambda: fan((7, 5), layers.LSTM(6, return_sequences=True, return_state=True)), [STEPS]),
    "gru": (lambda: chain((7, 5), layers.GRU(6, return_sequences=True), layers.GRU(4, reset_after=False)), [STEPS]),
    "rnn": (lambda: chain((7, 5), layers.SimpleRNN(6)), [STEPS]),
    "both ways": (both_ways, [STEPS]),
    "masked": (lambda: chain((7,), layers.Embedding(11, 6, mask_zero=True), layers.LSTM(5), dtype="int32"), [TOKENS]),
    "pictures in time": (lambda: chain((4, 6, 7, 2), layers.ConvLSTM2D(3, 3, padding="same")), [floats(3, 4, 6, 7, 2)]),
    "distributed": (lambda: chain((4, 6, 7, 2), layers.TimeDistributed(layers.Conv2D(3, 3))), [floats(3, 4, 6, 7, 2)]),
    "attention": (attention, [floats(3, 7, 8)]),
    "normalizations": (normalizations, [floats(3, 7, 8)]),
    "resized": (resized, [floats(3, *IMAGE)]),
    "reshaped": (reshaped, [floats(3, *IMAGE)]),
    "merged": (merged, [floats(3, 4, 5), floats(3, 4, 5)]),
    "rescaled": (lambda: chain(IMAGE, layers.Rescaling(1 / 255, offset=-0.5)), [floats(3, *IMAGE)]),
    "categories": (lambda: chain((4,), layers.CategoryEncoding(6, output_mode="multi_hot"), dtype="int32"), [integers(6, 3, 4)]),
    "counts": (lambda: chain((4,), layers.CategoryEncoding(6, output_mode="count"), dtype="int32"), [integers(6, 3, 4)]),
    "mobile": (mobile, [floats(3, 32, 32, 3)]),
    "quantized": (quantized, [floats(3, 8)]),
}


def randomize(model: Any) -> None:
    """Biases, scales and statistics that are not 0 or 1."""
    for weight in model.weights:
        if weight.dtype == "float32" and len(weight.shape) == 1:
            weight.assign(weight + 0.1 * np.abs(floats(*weight.shape)))


@pytest.mark.parametrize("name", MODELS)
def test_keras(name: str, tmp_path: Path) -> None:
    make, inputs = MODELS[name]
    model = make()
    randomize(model)

    def predicted(arrays: list[np.ndarray]) -> Any:
        return model(arrays if len(arrays) > 1 else arrays[0], training=False)

    predicted(inputs)
    file = tmp_path / "model.onnx"
    model.export(str(file), format="onnx", verbose=False)
    exported = onnx.load(file)
    for count in (3, 1):
        batch = [entry[:count] for entry in inputs]
        feeds = dict(zip([value.name for value in exported.graph.input], batch, strict=True))
        assert_as(outputs(exported, feeds), predicted(batch))


# TensorFlow

KERNEL, PER_CHANNEL = floats(3, 3, 4, 5), floats(3, 3, 4, 2)


def loop(x: Any) -> Any:
    i = tf.constant(0)
    while i < 3:
        x = tf.nn.tanh(x) + tf.cast(i, tf.float32)
        i += 1
    return x


def counted(x: Any, count: Any) -> Any:
    total = tf.zeros_like(x)
    for i in tf.range(count):
        if i % 2 == 0:
            total += x * tf.cast(i, tf.float32)
        else:
            total -= x
    return total


def stacked(x: Any) -> Any:
    rows = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=(None,))
    for i in tf.range(tf.shape(x)[0]):
        rows = rows.write(i, tf.cumsum(x[i]))
    return rows.stack()


def nested(x: Any) -> Any:
    while tf.reduce_sum(tf.abs(x)) > 1.0:
        i = tf.constant(0)
        while i < 2:
            if tf.reduce_max(x) > 0.5:
                x = x * 0.5
            else:
                x = x * 0.9
            i += 1
    return x


def branch(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x - 1)


def texts(s: Any) -> Any:
    return tf.concat([s, s], 0), tf.gather(s, [1, 0]), tf.strings.lower(s), tf.reshape(s, [-1, 1])


def numbers(s: Any) -> Any:
    return tf.strings.to_number(s), tf.as_string(tf.cast(tf.strings.to_number(s), tf.int32))


def windows(x: Any) -> Any:
    return (
        tf.nn.conv2d(x, KERNEL, 2, "SAME"),
        tf.nn.conv2d(x, KERNEL, 1, "SAME", dilations=2),
        tf.nn.conv2d(x, KERNEL, 1, [[0, 0], [1, 2], [0, 1], [0, 0]]),
        tf.nn.depthwise_conv2d(x, PER_CHANNEL, [1, 1, 1, 1], "VALID"),
        tf.nn.max_pool2d(x, 3, 2, "SAME"),
        tf.nn.avg_pool2d(x, 2, 1, "VALID"),
        tf.nn.local_response_normalization(x),
    )


def blocks(x: Any) -> Any:
    return tf.nn.space_to_depth(x, 2), tf.nn.depth_to_space(x, 2), tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])


def images(x: Any) -> Any:
    version_1 = tf.compat.v1.image
    return (
        tf.image.resize(x, (9, 20)),
        tf.image.resize(x, (9, 20), method="nearest"),
        version_1.resize_bilinear(x, (9, 20), align_corners=True),
        version_1.resize_bilinear(x, (9, 20)),
        version_1.resize_nearest_neighbor(x, (9, 20), align_corners=True),
        tf.image.crop_and_resize(x, [[0.0, 0, 1, 1], [0.2, 0.3, 0.7, 0.9]], [0, 0], (4, 5)),
        tf.image.flip_left_right(x),
        tf.image.adjust_contrast(x, 2.0),
    )


def reduced(x: Any) -> Any:
    return (
        tf.reduce_logsumexp(x, 1),
        tf.reduce_prod(x, 0),
        tf.reduce_any(x > 2, 1),
        tf.math.reduce_std(x, 1),
        tf.norm(x, axis=1),
        tf.argmax(x, 1),
        tf.math.cumsum(x, 1, exclusive=True, reverse=True),
        *tf.math.top_k(x, 3),
        tf.sort(x, direction="DESCENDING"),
        tf.argsort(x),
        tf.math.unsorted_segment_sum(x, tf.zeros(tf.shape(x)[:1], tf.int32), 3),
    )


def indexed(x: Any, i: Any) -> Any:
    return (
        tf.gather(x, i, axis=1),
        tf.gather(x, i, batch_dims=1, axis=1),
        tf.gather_nd(x, tf.expand_dims(i, -1)),
        tf.scatter_nd(i[:, :1], x, tf.shape(x)),
        tf.tensor_scatter_nd_update(x, i[:1, :1], x[:1]),
        tf.one_hot(i, 5, on_value=2.0, off_value=-1.0),
        tf.boolean_mask(x, x[:, 0] > 0),
        tf.where(x > 0),
        tf.unique(tf.reshape(i, [-1]))[0],
        tf.roll(x, 2, 1),
        x[::2, 1:-1],
        x[..., tf.newaxis, ::-1],
        tf.linalg.band_part(x, 1, 0),
        tf.repeat(x, 2, axis=1),
    )


def shaped(x: Any) -> Any:
    return (
        tf.pad(x, [[1, 2], [0, 1]], "REFLECT"),
        tf.pad(x, [[1, 2], [0, 1]], "SYMMETRIC"),
        tf.tile(x, [2, 1]),
        tf.stack([x, x], 1),
        *tf.split(x, [2, 3], 1),
        tf.meshgrid(x[:, 0], x[0])[0],
        tf.fill([2, 3], x[0, 0]),
        tf.sequence_mask([1, 3, 2], 4),
        tf.shape(x),
        tf.size(x),
    )


def products(x: Any, y: Any) -> Any:
    return tf.matmul(x, y), tf.matmul(x, x, transpose_b=True), tf.einsum("bij,bjk->bki", x, y), tf.tensordot(x, y[0], [[2], [0]])


def doubles(x: Any) -> Any:
    x = tf.cast(x, tf.float64)
    return tf.nn.softmax(tf.matmul(x, x, transpose_b=True)), tf.math.exp(x)


def boxes(x: Any) -> Any:
    return tf.image.non_max_suppression(tf.concat([x[:, :2], x[:, :2] + tf.abs(x[:, 2:])], 1), x[:, 0], 3, 0.5)


PICTURES, ROWS = floats(2, 8, 10, 4), floats(4, 5)
FUNCTIONS: list[tuple[Callable[..., Any], list[Any]]] = [
    (loop, [ROWS]),
    (counted, [ROWS, np.array(5, np.int32)]),
    (stacked, [ROWS]),
    (nested, [ROWS]),
    (branch, [ROWS]),
    (texts, [strings("aB", "q", "Cd")]),
    (numbers, [strings("1", "-2.5", "3e1")]),
    (windows, [PICTURES]),
    (blocks, [PICTURES]),
    (images, [PICTURES]),
    (reduced, [ROWS]),
    (indexed, [ROWS, np.array([[0, 2], [3, 1], [2, 0], [1, 3]], np.int32)]),
    (shaped, [ROWS]),
    (products, [floats(2, 3, 4), floats(2, 4, 5)]),
    (doubles, [ROWS]),
    (boxes, [floats(6, 4)]),
]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("function", "inputs"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_functions(function: Callable[..., Any], inputs: list[Any], opset: int) -> None:
    traced = tf.function(function)
    types = [tf.string if x.dtype == object else tf.as_dtype(x.dtype) for x in inputs]
    shapes = [[None, *x.shape[1:]] if x.ndim else [] for x in inputs]
    signature = [tf.TensorSpec(shape, kind, f"x{i}") for i, (shape, kind) in enumerate(zip(shapes, types, strict=True))]
    model, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=opset)
    feeds = {value.name: inputs[int(value.name[1:])] for value in model.graph.input}
    assert_as(outputs(model, feeds), traced(*map(tf.constant, inputs)))


def converted(folder: Path, *options: str) -> onnx.ModelProto:
    """What tf2onnx's command writes of a saved model."""
    file = folder / "model.onnx"
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(folder), "--output", str(file), "--opset", "18", *options]
    subprocess.run(command, check=True, capture_output=True)
    return onnx.load(file)


def test_saved_model_with_a_table(tmp_path: Path) -> None:
    class Looked(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            entries = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b", "c"]), tf.constant([5, 7, 9], tf.int64))
            self.table = tf.lookup.StaticHashTable(entries, -1)
            self.rows = tf.Variable(floats(11, 3))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="s")])  # type: ignore[untyped-decorator]
        def __call__(self, s: Any) -> Any:
            places = self.table.lookup(s)
            return {"places": places, "rows": tf.gather(self.rows, tf.maximum(places, 0))}

    module = Looked()
    tf.saved_model.save(module, str(tmp_path))
    words = strings("a", "q", "c")
    assert_as(outputs(converted(tmp_path), {"s": words}), module(tf.constant(words)))


def test_saved_model_with_channels_first(tmp_path: Path) -> None:
    """A normalisation that has seen data, and inputs that tf2onnx moves to NCHW."""
    normalization = layers.Normalization()
    normalization.adapt(floats(5, *IMAGE))
    model = chain(IMAGE, normalization, layers.Conv2D(4, 3))
    x = floats(2, *IMAGE)
    expected = model(x)
    model.export(str(tmp_path), verbose=False)
    plain = converted(tmp_path)
    name = plain.graph.input[0].name
    assert_as(outputs(plain, {name: x}), expected)
    moved = converted(tmp_path, "--inputs-as-nchw", f"{name}:0")
    assert_as(outputs(moved, {name: np.ascontiguousarray(x.transpose(0, 3, 1, 2))}), expected)


def test_whole_numbers_of_tensorflow_lite(tmp_path: Path) -> None:
    """Quantized from what samples showed: as TensorFlow Lite itself, to a step of the output's scale."""
    inner = [layers.Conv2D(8, 3, padding="same", activation="relu"), layers.DepthwiseConv2D(3), layers.MaxPooling2D(2)]
    model = chain(IMAGE, *inner, layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax"))
    samples = floats(20, *IMAGE)
    model.export(str(tmp_path / "saved"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    content = converter.convert()
    (tmp_path / "model.tflite").write_bytes(content)
    exported, _ = tf2onnx.convert.from_tflite(str(tmp_path / "model.tflite"), opset=18)
    assert any(node.op_type == "DequantizeLinear" for node in exported.graph.node)
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples[:1])
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert_as(outputs(exported, {exported.graph.input[0].name: samples[:1]}), expected, tolerance=1.01 / 256)
