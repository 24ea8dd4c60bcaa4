"""Export variants as data: one table drives the command line, the checks, the tests, the docs."""

from dataclasses import dataclass
from typing import Any

ENDS_THAT_STAY_FLOAT = r"luminance|normalization|stem|block[12]|logits|StatefulPartitionedCall"
"""Layers that lose most in int8: the first ones, whose activations are large and early, and the
outputs (which the converter names so), whose probabilities would have steps of 1/256."""

ANYTHING = r""
NOTHING = r"(?!)"


@dataclass(frozen=True)
class Promise:
    """What a variant's file must be, or it is not written.

    Attributes:
        weights: Type of at least 95% of the file's constants.
        float_layers: Regular expression of the layers that compute in float, and no others.
        input_type: Type of the tile; an integer one has scale 1, so that it is the pixels.
        output_type: Type of the outputs.
        evidence: Whether the evidence map is a second output.
        megabytes: Smallest and largest size of the file.
        max_difference: Largest difference of any probability from the Keras model's.
        mean_difference: Largest mean difference of the probabilities.
        min_agreement: Smallest share of tiles with the same top label, in [0, 1].
        max_drop: Largest loss of accuracy, in percentage points.
        max_calibration_loss: Largest rise of the expected calibration error.
        min_evidence_correlation: Smallest correlation of the evidence maps with the Keras model's.
        activations: What the other layers compute in; where all are float, ``int8`` says that
            they quantize as they go, and ``float32`` that the weights are restored first.
        tolerance: How far another runtime's probabilities may be from the file's own on the
            golden tiles.
        gzip_megabytes: Largest size of the file when compressed; None for any.
    """

    weights: str
    float_layers: str
    input_type: str
    output_type: str
    evidence: bool
    megabytes: tuple[float, float]
    max_difference: float
    mean_difference: float
    min_agreement: float
    max_drop: float
    max_calibration_loss: float = 0.005
    min_evidence_correlation: float = 0.9
    activations: str = "int8"
    tolerance: float = 1e-3
    gzip_megabytes: float | None = None


@dataclass(frozen=True)
class PostTraining:
    """Quantization of the float32 file with ai-edge-quantizer.

    Attributes:
        recipe: A function of ``ai_edge_quantizer.recipe``.
        ranges: How static quantization chooses the range of each activation: ``least error``,
            squared, of int8; or ``extremes``, for which 16 bits have room. Those of the logits
            are always the extremes.
    """

    recipe: str
    ranges: str = "least error"


@dataclass(frozen=True)
class Retrained:
    """Fine-tuning of a tf_keras twin with tensorflow-model-optimization, towards the model.

    Attributes:
        steps: Steps of 32 images.
        quantize: Whether to train with quantization simulated; else the weights alone are
            quantized, after training.
        sparsity: Share of a pruned kernel's weights that become zero, in [0, 1).
        clusters: Number of different values in a clustered kernel; 0 for any.
    """

    steps: int
    quantize: bool = False
    sparsity: float = 0.0
    clusters: int = 0


@dataclass(frozen=True)
class Converted:
    """Conversion by TensorFlow's own converter.

    Attributes:
        mode: ``float32``, ``float16`` or ``int8``.
    """

    mode: str


@dataclass(frozen=True)
class Variant:
    """One way to write the network down.

    Attributes:
        name: What files and reports call it.
        description: One line for people who choose.
        method: How it is made.
        promise: What its file must be.
        published: Whether a bundle is written; a reference is only measured.
    """

    name: str
    description: str
    method: Converted | PostTraining | Retrained
    promise: Promise
    published: bool = True


_INTEGER_TOLERANCE = 0.05
"""Runtimes round integers differently, layer after layer."""


def _float(weights: str, megabytes: tuple[float, float], **bounds: Any) -> Promise:
    return Promise(
        weights,
        ANYTHING,
        "float32",
        "float32",
        True,
        megabytes,
        **{"activations": "float32"} | bounds,
    )


def _int8(
    *, float_layers: str = NOTHING, io: str = "float32", evidence: bool = True, **bounds: float
) -> Promise:
    return Promise(
        "int8", float_layers, io, io, evidence, (4.0, 5.5), **bounds, tolerance=_INTEGER_TOLERANCE
    )


_STATIC = {
    "max_difference": 0.8,
    "mean_difference": 0.04,
    "min_agreement": 0.85,
    "max_calibration_loss": 0.05,
}

_RETRAINED = {
    "max_difference": 0.9,
    "mean_difference": 0.06,
    "min_agreement": 0.75,
    "max_calibration_loss": 0.05,
    "min_evidence_correlation": 0.8,
}

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "float32",
            "the reference",
            Converted("float32"),
            _float(
                "float32",
                (15.5, 16.5),
                max_difference=1e-4,
                mean_difference=1e-5,
                min_agreement=1.0,
                max_drop=0.0,
            ),
        ),
        Variant(
            "float16",
            "half the size, the same speed on CPUs, made for phone GPUs",
            Converted("float16"),
            _float(
                "float16",
                (7.8, 8.3),
                max_difference=0.02,
                mean_difference=1e-3,
                min_agreement=0.99,
                max_drop=0.1,
                tolerance=0.02,
            ),
        ),
        Variant(
            "weight_only_int8",
            "a quarter of the size, computes in float",
            PostTraining("weight_only_wi8_afp32"),
            _float(
                "int8",
                (4.0, 5.0),
                max_difference=0.25,
                mean_difference=0.01,
                min_agreement=0.97,
                max_drop=0.1,
            ),
        ),
        Variant(
            "dynamic_int8",
            "a quarter of the size, activations quantized as they come",
            PostTraining("dynamic_wi8_afp32"),
            _float(
                "int8",
                (4.0, 5.0),
                max_difference=0.5,
                mean_difference=0.02,
                min_agreement=0.93,
                max_drop=1.0,
                max_calibration_loss=0.01,
                activations="int8",
                tolerance=_INTEGER_TOLERANCE,
            ),
        ),
        Variant(
            "full_int8",
            "integers throughout, pixels in: for microcontrollers, NPUs and MediaPipe",
            PostTraining("static_wi8_ai8"),
            _int8(io="uint8", evidence=False, max_drop=0.5, **_STATIC),
        ),
        Variant(
            "full_int8_float_io",
            "integers inside, float tile and probabilities",
            PostTraining("static_wi8_ai8"),
            _int8(max_drop=0.5, **_STATIC),
        ),
        Variant(
            "mixed_int8",
            "integers but for the first layers and the last, which lose most by them",
            PostTraining("static_wi8_ai8"),
            _int8(
                float_layers=ENDS_THAT_STAY_FLOAT,
                max_difference=0.3,
                mean_difference=0.01,
                min_agreement=0.96,
                max_drop=0.2,
                max_calibration_loss=0.01,
            ),
        ),
        Variant(
            "int16x8",
            "8-bit weights, 16-bit activations: slow on CPUs, for accelerators that have it",
            PostTraining("static_wi8_ai16", ranges="extremes"),
            Promise(
                "int8",
                NOTHING,
                "float32",
                "float32",
                True,
                (4.0, 5.5),
                max_difference=0.5,
                mean_difference=0.03,
                min_agreement=0.93,
                max_drop=0.5,
                max_calibration_loss=0.05,
                activations="int16",
                tolerance=_INTEGER_TOLERANCE,
            ),
        ),
        Variant(
            "qat_int8",
            "integers throughout, pixels in, trained with quantization simulated",
            Retrained(steps=200, quantize=True),
            _int8(io="uint8", evidence=False, max_drop=0.5, **_RETRAINED),
        ),
        Variant(
            "pruned_int8",
            "weight-only int8 with half of the large kernels zero: small when compressed",
            Retrained(steps=120, sparsity=0.5),
            _float("int8", (4.0, 5.0), max_drop=3.0, gzip_megabytes=3.3, **_RETRAINED),
        ),
        Variant(
            "clustered_int8",
            "weight-only int8 with 32 values a large kernel: small when compressed",
            Retrained(steps=40, clusters=32),
            _float("int8", (4.0, 5.0), max_drop=3.0, gzip_megabytes=3.6, **_RETRAINED),
        ),
        Variant(
            "prune_qat",
            "quantization-aware training that keeps half of the large kernels zero",
            Retrained(steps=120, sparsity=0.5, quantize=True),
            _int8(io="uint8", evidence=False, max_drop=3.0, gzip_megabytes=3.6, **_RETRAINED),
        ),
        Variant(
            "converter_int8",
            "TensorFlow's own full int8, the reference of what plain conversion loses",
            Converted("int8"),
            _int8(
                max_difference=0.99,
                mean_difference=0.1,
                min_agreement=0.6,
                max_drop=10.0,
                max_calibration_loss=0.3,
            ),
            published=False,
        ),
    )
}
