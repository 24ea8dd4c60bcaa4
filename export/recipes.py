"""Export variants as data: one table drives the command line, the checks and the tests."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One way to write the network down.

    Attributes:
        name: What files and reports call it.
        description: One line for people who choose.
        weights: Type the weights are stored in: ``float32`` or ``float16``.
        max_difference: Largest allowed difference of any probability from the Keras model's, on
            every tile of the parity check.
        min_agreement: Smallest allowed share of tiles with the same top label.
    """

    name: str
    description: str
    weights: str
    max_difference: float
    min_agreement: float


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("float32", "the reference", "float32", max_difference=1e-4, min_agreement=1.0),
        Variant(
            "float16",
            "half the size, the same speed on CPUs, made for phone GPUs",
            "float16",
            max_difference=0.02,
            min_agreement=0.99,
        ),
    )
}
