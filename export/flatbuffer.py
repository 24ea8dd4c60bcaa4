"""Changes to a finished ``.tflite`` file: pixel input, outputs, metadata for MediaPipe Tasks."""

import copy
import io
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fer.labels import LABELS

LABELS_FILE = "labels.txt"

_METADATA_NAME = b"TFLITE_METADATA"

_FILE_IDENTIFIER = b"TFL3"


def with_integer_io(content: bytes) -> bytes:
    """Gives a full int8 model uint8 inputs and outputs, by a requantizing operator at each.

    The tile's scale is exactly 1: the input is the pixels themselves.

    Args:
        content: A ``.tflite`` file whose inputs and outputs are int8.

    Returns:
        The changed file.
    """
    model = _read(content)
    graph = model.subgraphs[0]
    code = _operator_code(model, schema.BuiltinOperator.QUANTIZE)
    (signature,) = model.signatureDefs
    graph.inputs, graph.outputs = list(graph.inputs), list(graph.outputs)
    for places, mapped, leading in (
        (graph.inputs, signature.inputs, True),
        (graph.outputs, signature.outputs, False),
    ):
        for place, inner in enumerate(places):
            outer = _unsigned_twin(graph, inner)
            places[place] = outer
            for entry in mapped:
                if entry.tensorIndex == inner:
                    entry.tensorIndex = outer
            operator = schema.OperatorT()
            operator.opcodeIndex = code
            operator.inputs, operator.outputs = [outer], [inner]
            if not leading:
                operator.inputs, operator.outputs = [inner], [outer]
            graph.operators.insert(0 if leading else len(graph.operators), operator)
    return _write(model)


def outputs(content: bytes) -> list[str]:
    """Returns the names of the outputs, in the order of the graph's own list."""
    model = _read(content)
    (signature,) = model.signatureDefs
    by_index = {entry.tensorIndex: entry.name.decode() for entry in signature.outputs}
    return [by_index[index] for index in model.subgraphs[0].outputs]


def without_output(content: bytes, name: str) -> bytes:
    """Removes an output of the signature; what only it needs is left in the graph."""
    model = _read(content)
    (signature,) = model.signatureDefs
    graph = model.subgraphs[0]
    (gone,) = [entry for entry in signature.outputs if entry.name == name.encode()]
    signature.outputs = [entry for entry in signature.outputs if entry is not gone]
    graph.outputs = [index for index in graph.outputs if index != gone.tensorIndex]
    return _write(model)


def with_metadata(content: bytes, *, name: str, description: str) -> bytes:
    """Writes what MediaPipe Tasks' ``ImageClassifier`` reads: normalisation and labels.

    The normalisation is mean 0 and deviation 1, as the graph normalises by itself; the labels are
    a file in a ZIP archive behind the model. A model with an evidence map, which is no vector of
    scores, needs `without_output` first to be taken by MediaPipe.

    Source: https://ai.google.dev/edge/litert/conversion/tensorflow/metadata
    """
    labels = {0: LABELS_FILE, 1: "one label a line", 2: _Byte(2)}  # TENSOR_AXIS_LABELS
    described: list[Any] = []
    for output in outputs(content):
        tensor: dict[int, Any] = {0: output, 3: {0: _Byte(1), 1: {}}}  # FeatureProperties
        if output == "probabilities":
            tensor[6] = [labels]
        described.append(tensor)
    image = _image("square RGB face crop, values 0 to 255", mean=0.0, deviation=1.0)
    file = io.BytesIO(_with_table(content, name, description, {2: [image], 3: described}))
    with zipfile.ZipFile(file, "a") as archive:
        # ZipInfo has a fixed date: the same model gives the same bytes.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "\n".join(LABELS) + "\n")
    return file.getvalue()


def with_detector_metadata(content: bytes, *, name: str, description: str) -> bytes:
    """Writes what MediaPipe Tasks' ``FaceDetector`` reads: pixels become -1 to 1."""
    image = _image("RGB picture, values 0 to 255", mean=127.5, deviation=127.5)
    return _with_table(content, name, description, {2: [image]})


def _read(content: bytes) -> Any:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # stands behind the tables, which are about to change
            part = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(part, np.uint8)
            buffer.offset = buffer.size = 0
    return model


def _write(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 24)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _operator_code(model: Any, builtin: int) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _unsigned_twin(graph: Any, index: int) -> int:
    """Appends the uint8 tensor that means the same as an int8 one; returns its index."""
    inner = graph.tensors[index]
    if inner.type != schema.TensorType.INT8:
        raise ValueError(f"tensor {inner.name!r} must be int8, received type {inner.type}")
    outer = copy.deepcopy(inner)
    outer.type = schema.TensorType.UINT8
    outer.quantization.zeroPoint = inner.quantization.zeroPoint + 128
    inner.name += b"_int8"
    graph.tensors.append(outer)
    return len(graph.tensors) - 1


class _Byte(int):
    """A number that is stored in one byte, as enumerations are."""


def _with_table(content: bytes, name: str, description: str, graph: dict[int, Any]) -> bytes:
    """Puts a ``ModelMetadata`` table into a file; the keys are the fields' numbers in its schema.

    Source: tensorflow/lite/schema metadata_schema.fbs, in tflite-support.
    """
    model = _read(content)
    entries = [entry for entry in model.metadata or [] if entry.name == _METADATA_NAME]
    if not entries:
        entries = [schema.MetadataT()]
        entries[0].name, entries[0].buffer = _METADATA_NAME, len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata = [*(model.metadata or []), *entries]
    table = {0: name, 1: description, 3: [graph], 5: "Apache-2.0"}
    builder = flatbuffers.Builder(1024)
    builder.Finish(_encode(builder, table), file_identifier=b"M001")
    encoded = np.frombuffer(bytes(builder.Output()), np.uint8)
    model.buffers[entries[0].buffer].data = encoded
    return _write(model)


def _image(description: str, *, mean: float, deviation: float) -> dict[int, Any]:
    """Describes an input of pixels, and how they are normalised."""
    smallest, largest = ((pixel - mean) / deviation for pixel in (0.0, 255.0))
    return {
        0: "image",
        1: description,
        3: {0: _Byte(2), 1: {0: _Byte(1)}},  # ImageProperties: RGB
        4: [{0: _Byte(1), 1: {0: [mean], 1: [deviation]}}],  # NormalizationOptions
        5: {0: [largest], 1: [smallest]},
    }


def _encode(builder: flatbuffers.Builder, value: Any) -> int:
    """Encodes a string, a vector or a table (a dict of field number to value)."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, list):
        offsets = [v if isinstance(v, float) else _encode(builder, v) for v in value]
        builder.StartVector(4, len(value), 4)
        prepend: Callable[[Any], None] = (
            builder.PrependFloat32
            if isinstance(value[0], float)
            else builder.PrependUOffsetTRelative
        )
        for offset in reversed(offsets):
            prepend(offset)
        return int(builder.EndVector())
    fields = {slot: v if isinstance(v, _Byte) else _encode(builder, v) for slot, v in value.items()}
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, v in fields.items():
        if isinstance(v, _Byte):
            builder.PrependUint8Slot(slot, v, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, v, 0)
    return int(builder.EndObject())


def custom_operators(content: bytes) -> list[str]:
    """Returns the names of the operators that are not built into LiteRT, TensorFlow's included."""
    return [
        (code.customCode or b"unnamed").decode()
        for code in _read(content).operatorCodes
        if max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.CUSTOM
    ]


def constants(content: bytes) -> Counter[str]:
    """Returns how many numbers of each type a file stores, by NumPy's names of the types."""
    names = {
        number: name.lower()
        for name, number in vars(schema.TensorType).items()
        if isinstance(number, int)
    }
    model = _read(content)
    counts: Counter[str] = Counter()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data):
                counts[names[tensor.type]] += int(np.prod(tensor.shape))
    return counts
