"""What a frozen extractor is worth: ``python -m train.probe --data PATH --init FILE.keras``.

A linear probe (Alain and Bengio 2016): softmax regression on the features of an extractor that
never learns. The paper's first step is one, with 70.60% validation accuracy.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from fer._stderr import silent_stderr

with silent_stderr():
    import keras
    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

    from fer._files import write_json
    from fer.labels import LABELS
    from fer.metrics import Accuracy
    from fer.nn import dataset
    from fer.nn import model as models
    from fer.nn.dataset import SIDE
    from train.command import (
        add_data_options,
        add_exclude_option,
        new_parser,
        run,
        start_of,
        training_images,
    )
    from train.predict import tiles_of

EPILOG = """examples:
  python -m train.probe --data fer2013.zip --init imagenet
  python -m train.probe --data fer2013.zip --init start.keras --tile-size 200 --json probe.json
"""

PENALTIES = (0.0, 0.01, 0.1, 1.0)
"""Weight decays that are tried; PublicTest chooses, so the figure is a little optimistic."""

_STEPS, _BATCH, _RATE = 3000, 256, 1e-3


def _parse() -> argparse.Namespace:
    parser = new_parser(
        "train.probe",
        "Fit a linear classifier to the features of a frozen EfficientNetB0 and score it: what "
        "the paper's first step can reach.",
        EPILOG,
    )
    add_data_options(parser, votes=False)
    add_exclude_option(parser)
    parser.add_argument("--init", default="imagenet", metavar="{imagenet,none,PATH.keras}")
    parser.add_argument("--tile-size", type=int, default=96, metavar="T")
    parser.add_argument("--images", type=int, metavar="N", help="take about N training images")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the figures here")
    return parser.parse_args()


def features(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the pooled features of images, shape (N, 1280).

    Args:
        model: A network of `fer.nn.model.build`.
        images: Grey images, shape (N, 48, 48).
    """
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    chunks = tiles_of(images, model.input_shape[1])
    return np.concatenate([pooled.predict(tiles, verbose=0) for tiles in chunks])


def probe(
    training: NDArray[np.float32],
    labels: NDArray[np.int64],
    held: NDArray[np.float32],
    held_labels: NDArray[np.int64],
    penalty: float,
) -> tuple[Accuracy, Accuracy]:
    """Fits softmax regression and scores it.

    Args:
        training: Features, shape (N, D).
        labels: Shape (N,).
        held: Features of other images, shape (M, D).
        held_labels: Shape (M,).
        penalty: Decoupled weight decay.

    Returns:
        Accuracy on the training images, and on the others.
    """
    keras.utils.set_random_seed(0)
    # Still linear: the scale could be folded into the layer.
    mean, deviation = training.mean(axis=0), training.std(axis=0) + 1e-6
    model = keras.Sequential([keras.Input((training.shape[1],)), keras.layers.Dense(len(LABELS))])
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(_RATE, _STEPS),
            weight_decay=penalty,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    scaled = [(values - mean) / deviation for values in (training, held)]
    # As many steps however few the images.
    shuffled = tf.data.Dataset.from_tensor_slices((scaled[0], labels)).shuffle(len(labels), seed=0)
    model.fit(shuffled.repeat().batch(_BATCH), steps_per_epoch=_STEPS, shuffle=False, verbose=0)
    answers = [
        model.predict(values, batch_size=4096, verbose=0).argmax(axis=1) for values in scaled
    ]
    return Accuracy.of(answers[0] == labels), Accuracy.of(answers[1] == held_labels)


def _main() -> None:
    options = _parse()
    if options.tile_size < SIDE:
        raise ValueError(f"tile-size must be at least {SIDE}, received {options.tile_size}")
    keras.utils.set_random_seed(0)
    model = models.build(options.tile_size, init=options.init, dropout=0.0)
    data = dataset.load(options.data)
    training, _ = training_images(data, options.exclude)
    if options.images is not None:
        training = dataset.thinned(training, options.images)
    held = data.split("PublicTest")
    print("computing features")
    vectors, held_vectors = (features(model, part.images) for part in (training, held))
    rows = []
    print("\nweight decay  training accuracy  PublicTest accuracy")
    for penalty in PENALTIES:
        fitted = probe(vectors, training.labels, held_vectors, held.labels, penalty)
        rows.append((penalty, *fitted))
        print(f"{penalty:>12g}  {fitted[0].value:>17.2%}  {fitted[1]}")
    penalty, seen, unseen = max(rows, key=lambda row: row[2].value)
    if options.json:
        report = {
            "init": start_of(options.init),
            "tile_size": options.tile_size,
            "images": len(training),
            "weight_decay": penalty,
            "training_accuracy": asdict(seen),
            "public_test_accuracy": asdict(unseen),
        }
        write_json(options.json, report)


if __name__ == "__main__":
    run(_main)
