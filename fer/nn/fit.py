"""Two-stage transfer learning: the classifier on a frozen extractor, then everything."""

import csv
import dataclasses
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from fer._files import replacing
from fer.displays import TrainingCurvesDisplay
from fer.nn import model as models
from fer.nn.augment import Augmentation, training_batches, validation_batches
from fer.nn.dataset import Fer2013
from fer.nn.kernels import speed_up

BEST = "best.keras"
HISTORY = "history.csv"
SCHEDULES: tuple[str, ...] = ("constant", "plateau", "cosine")

_COLUMNS: tuple[str, ...] = (
    "epoch",
    "stage",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
)
_STATISTICS_BATCHES = 24
_CHECKPOINT = re.compile(r"last-(\d+)-(\d+)\.keras")


class TrainingError(RuntimeError):
    """A run that cannot go on: it diverged, or there is nothing to resume."""


@dataclass(frozen=True)
class Stage:
    """One step of the training.

    Attributes:
        name: What tables and logs call it.
        epochs: Number of passes over the training data.
        train_backbone: Whether the feature extractor learns too; frozen, its batch norms keep
            their statistics.
        learning_rate: Peak learning rate.
        schedule: ``constant``; ``plateau``, halved when the validation loss stalls; or
            ``cosine``, with a linear warm-up over the first `warmup` of the steps.
        warmup: Share of the steps, for ``cosine``.
        tile_size: Side of the network's input in pixels, where it differs from the recipe's: a
            stage on smaller tiles costs less (progressive resizing, Tan and Le 2021).
        frozen_blocks: Blocks of an EfficientNet, from the input, that keep their weights while
            the rest of the feature extractor learns: on large tiles they cost the most.
    """

    name: str
    epochs: int
    train_backbone: bool
    learning_rate: float
    schedule: str = "constant"
    warmup: float = 0.15
    tile_size: int | None = None
    frozen_blocks: int = 0

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: If a field is out of range.
        """
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {SCHEDULES}, received {self.schedule!r}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, received {self.epochs}")
        if not 0 <= self.frozen_blocks <= 7:
            raise ValueError(f"frozen_blocks must be in [0, 7], received {self.frozen_blocks}")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, apart from the data, the start and the seed.

    Attributes:
        tile_size: Side of the trained network's input in pixels.
        batch_size: Images per step.
        stages: The steps, in order.
        dropout: Rate before the heads.
        weight_decay: Decoupled weight decay (AdamW; none on biases and norms); 0 for Adam.
        label_smoothing: Of the ``fer2013`` head; the ``ferplus`` head has half of it, as its
            votes are soft already.
        ferplus_weight: Weight of the auxiliary FER+ head in the loss.
        ema: Momentum of the weights' moving average, which is evaluated and kept; 0 for none.
        clip_norm: Largest norm of the whole gradient; 0 for no limit.
        augmentation: Random changes of the training images.
        max_images: Training and validation images to take at most, about; 0 for all.
    """

    tile_size: int
    batch_size: int
    stages: tuple[Stage, ...]
    dropout: float = 0.3
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    ferplus_weight: float = 0.0
    ema: float = 0.0
    clip_norm: float = 0.0
    augmentation: Augmentation = Augmentation()
    max_images: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Reads the ``recipe`` of a ``config.json``; fields that it lacks have their defaults.

        Raises:
            ValueError: If it has fields that this version does not know.
        """
        fields = {name: value for name, value in values.items() if name != "name"}
        try:
            fields["stages"] = tuple(Stage(**stage) for stage in fields["stages"])
            fields["augmentation"] = Augmentation(**fields["augmentation"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"config.json holds a recipe of another version: {error}") from error

    def for_images(self, images: int) -> "Recipe":
        """Returns the recipe made to fit a number of training images, where these are few.

        A batch never has more images than there are, and the moving average is short enough to
        have forgotten the first weights at the end.
        """
        batch = max(1, min(self.batch_size, images))
        steps = max(1, images // batch) * sum(stage.epochs for stage in self.stages)
        ema = max(0.5, min(self.ema, 1 - 20 / steps)) if self.ema else 0.0
        return dataclasses.replace(self, batch_size=batch, ema=ema)

    def with_epochs(self, epochs: int) -> "Recipe":
        """Returns the recipe with the same number of epochs in every stage."""
        stages = tuple(dataclasses.replace(stage, epochs=epochs) for stage in self.stages)
        return dataclasses.replace(self, stages=stages)


def fit(
    run: Path,
    recipe: Recipe,
    training: Fer2013,
    validation: Fer2013,
    *,
    start: Callable[[], keras.Model],
    seed: int,
    resume: bool = False,
    targets: NDArray[np.float32] | None = None,
) -> Path:
    """Trains a model, keeping every finished epoch.

    After each epoch the run folder holds ``last-<stage>-<epoch>.keras`` (with the optimizer),
    ``best.keras`` (the epoch that `best_row` names), ``history.csv``,
    ``curves.png`` and TensorBoard logs. A killed run goes on from its last epoch.

    Args:
        run: Run folder, existing.
        recipe: The recipe.
        training: Training images, without leaks.
        validation: Images that choose the best epoch.
        start: Makes the network to train: of the layers that `fer.nn.model.assemble` gives it.
        seed: Seed of the weights, the order and the augmentation.
        resume: Whether to go on with the run in the folder.
        targets: Class probabilities, shape (N, 7), that the head ``fer2013`` learns in place of
            the labels, as `train.distill` makes them; None for the labels.

    Returns:
        Path of ``best.keras``.

    Raises:
        TrainingError: If the loss is not finite, or there is nothing to resume.
        fer.nn.model.ModelError: If the checkpoint cannot be loaded.
    """
    keras.utils.set_random_seed(seed)
    for stale in run.glob(".*.tmp*"):  # of a run that was killed while it wrote
        stale.unlink()
    first, done, optimizer_state = 0, 0, None
    if resume:
        path, first, done = _last_checkpoint(run)
        model = models.load_checkpoint(path)
        if done:
            optimizer_state = _optimizer_state(path)
    else:
        model = start()
    steps = len(training) // recipe.batch_size
    rows = _seen_history(run, first, done, recipe) if resume else []
    total = steps * sum(stage.epochs for stage in recipe.stages)
    with tqdm(total=total, initial=steps * len(rows), unit="step", smoothing=0.05) as bar:
        _print_header(bar)
        for index, stage in enumerate(recipe.stages):
            if index < first:
                continue
            size = stage.tile_size or recipe.tile_size
            if model.input_shape[1] != size:
                model = models.resized(model, size)
            speed_up(model)
            batches = training_batches(
                training,
                size,
                recipe.batch_size,
                recipe.augmentation,
                seed + index + done,
                targets=targets,
            )
            compile_stage(model, recipe, stage, steps)
            if optimizer_state is not None:
                _restore(model.optimizer, optimizer_state)
                optimizer_state = None
            callbacks: list[keras.callbacks.Callback] = []
            if stage.schedule == "plateau":
                # Before the recorder, so that a checkpoint holds the rate it goes on with.
                callbacks.append(keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=5))
            callbacks += [
                _Recorder(run, recipe, index, _Statistics(model, batches), rows, bar),
                keras.callbacks.TensorBoard(run / "tensorboard" / stage.name, profile_batch=0),
            ]
            model.fit(
                batches,
                epochs=stage.epochs,
                initial_epoch=done,
                validation_data=validation_batches(validation, size, recipe.batch_size),
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )
            done = 0
            # The next stage starts from the averaged weights that this stage ends with.
            _keep_checkpoint(model, run, index + 1, 0)
    return run / BEST


def compile_stage(model: keras.Model, recipe: Recipe, stage: Stage, steps: int) -> None:
    """Sets what learns, the losses and the optimizer of a stage with ``steps`` steps an epoch."""
    backbone = model.get_layer("backbone")
    backbone.trainable = stage.train_backbone
    frozen = tuple(f"block{number}" for number in range(1, stage.frozen_blocks + 1))
    for layer in backbone.layers:
        if frozen and layer.name.startswith(("stem", *frozen)):
            layer.trainable = False
    rate: float | keras.optimizers.schedules.LearningRateSchedule = stage.learning_rate
    if stage.schedule == "cosine":
        warmup = max(1, round(stage.warmup * steps * stage.epochs))
        rate = keras.optimizers.schedules.CosineDecay(
            stage.learning_rate / 25,
            max(1, steps * stage.epochs - warmup),
            warmup_target=stage.learning_rate,
            warmup_steps=warmup,
        )
    options = {
        "use_ema": bool(recipe.ema),
        "ema_momentum": recipe.ema,
        "global_clipnorm": recipe.clip_norm or None,
    }
    if recipe.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **options)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    else:
        optimizer = keras.optimizers.Adam(rate, **options)

    def loss(smoothing: float) -> keras.losses.Loss:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    model.compile(
        optimizer=optimizer,
        loss={"fer2013": loss(recipe.label_smoothing), "ferplus": loss(recipe.label_smoothing / 2)},
        loss_weights={"fer2013": 1.0, "ferplus": recipe.ferplus_weight},
        metrics={"fer2013": [keras.metrics.CategoricalAccuracy(name="accuracy")]},
        # Measured slower with XLA on CPUs, and the automatic choice takes it.
        jit_compile=False,
    )
    optimizer.build(model.trainable_variables)


class _Recorder(keras.callbacks.Callback):
    """Progress, divergence, moving-average evaluation, history and checkpoints of one stage."""

    def __init__(
        self,
        run: Path,
        recipe: Recipe,
        index: int,
        statistics: "_Statistics",
        rows: list[dict[str, str]],
        bar: tqdm,
    ) -> None:
        super().__init__()
        self._run, self._recipe, self._index = run, recipe, index
        self._rows, self._bar = rows, bar
        self._name = recipe.stages[index].name
        self._statistics = statistics
        self._started = time.monotonic()
        self._raw: list[NDArray[np.float32]] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in stage {self._name!r} after {batch + 1} steps of epoch "
                f"{len(self._rows) + 1}; lower the learning rate. The last good checkpoint is in "
                f"{self._run}"
            )
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Puts the averaged weights in place, so that they are what is validated and kept."""
        optimizer = self.model.optimizer
        if optimizer.use_ema:
            self._raw = [variable.numpy() for variable in self.model.variables]
            optimizer.finalize_variable_values(self.model.trainable_variables)
            self._statistics.refresh()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = logs or {}
        if not math.isfinite(values["val_loss"]):
            raise TrainingError(
                f"the validation loss became {values['val_loss']} in stage {self._name!r}; lower "
                f"the learning rate. The last good checkpoint is in {self._run}"
            )
        row = {
            "epoch": str(len(self._rows) + 1),
            "stage": self._name,
            "loss": f"{values['loss']:.4f}",
            "accuracy": f"{values['fer2013_accuracy']:.4f}",
            "val_loss": f"{values['val_loss']:.4f}",
            "val_accuracy": f"{values['val_fer2013_accuracy']:.4f}",
            "learning_rate": f"{float(self.model.optimizer.learning_rate):.3g}",
            "seconds": f"{time.monotonic() - self._started:.0f}",
        }
        self._rows.append(row)
        if best_row(self._rows, self._recipe) is row:
            models.save(self.model, self._run / BEST)
        if self._raw is not None:
            for variable, raw in zip(self.model.variables, self._raw, strict=True):
                variable.assign(raw)
            self._raw = None
        _print_row(self._bar, row)
        _write_history(self._run, self._rows)
        TrainingCurvesDisplay.from_history(self._rows).save(self._run / "curves.png")
        _keep_checkpoint(self.model, self._run, self._index, epoch + 1)


class _Statistics:
    """Measures the batch norms' statistics anew for averaged weights.

    The moving statistics belong to the weights they were gathered with; with the average of many
    weights they are far enough off to ruin it (Izmailov et al. 2018, section 3.2).
    """

    def __init__(self, model: keras.Model, batches: tf.data.Dataset) -> None:
        self._norms = [
            layer
            for layer in model.get_layer("backbone").layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._batches = batches.take(_STATISTICS_BATCHES)
        self._forward = tf.function(lambda tiles: model(tiles, training=True))

    def refresh(self) -> None:
        """Replaces the moving statistics by their mean over some training batches."""
        if not self._norms:
            return
        variables = [v for norm in self._norms for v in norm.non_trainable_variables]
        momenta = [norm.momentum for norm in self._norms]
        sums = [np.zeros(variable.shape, np.float64) for variable in variables]
        for norm in self._norms:
            norm.momentum = 0.0  # each batch's own statistics
        count = 0
        for tiles, _, _ in self._batches:
            count += 1
            self._forward(tiles)
            for total, variable in zip(sums, variables, strict=True):
                total += variable.numpy()
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
        for total, variable in zip(sums, variables, strict=True):
            variable.assign(total / count)


def _keep_checkpoint(model: keras.Model, run: Path, stage: int, epoch: int) -> None:
    """Writes the checkpoint, then removes the older ones: there is always a whole one."""
    path = run / f"last-{stage}-{epoch}.keras"
    models.save(model, path, with_optimizer=True)
    for other in run.glob("last-*.keras"):
        if other != path:
            other.unlink()


def _last_checkpoint(run: Path) -> tuple[Path, int, int]:
    found = [
        (int(match[1]), int(match[2]), path)
        for path in run.glob("last-*.keras")
        if (match := _CHECKPOINT.fullmatch(path.name))
    ]
    if not found:
        raise TrainingError(f"nothing to resume in {run}: no last-*.keras; start without --resume")
    stage, epoch, path = max(found)
    return path, stage, epoch


def _optimizer_state(path: Path) -> list[NDArray[np.float32]]:
    return [
        variable.numpy()
        for variable in keras.saving.load_model(path, safe_mode=True).optimizer.variables
    ]


def _restore(optimizer: keras.optimizers.Optimizer, state: list[NDArray[np.float32]]) -> None:
    if len(state) != len(optimizer.variables):
        raise TrainingError(
            "the checkpoint was made with another recipe: its optimizer has "
            f"{len(state)} variables, this one {len(optimizer.variables)}"
        )
    for variable, value in zip(optimizer.variables, state, strict=True):
        variable.assign(value)


def _write_history(run: Path, rows: list[dict[str, str]]) -> None:
    with (
        replacing(run / HISTORY) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_history(run: Path) -> list[dict[str, str]]:
    """Reads ``history.csv`` of a run folder, one row an epoch.

    Raises:
        TrainingError: If there is none.
    """
    try:
        with (run / HISTORY).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise TrainingError(f"no readable {HISTORY} in {run}: {error.strerror}") from error


def best_row(rows: Sequence[dict[str, str]], recipe: Recipe) -> dict[str, str]:
    """Returns the row of the epoch that ``best.keras`` holds.

    It is the first with the highest validation accuracy, of those at the recipe's own tile size
    as soon as there is one.

    Args:
        rows: Rows of the history, at least one.
        recipe: The run's recipe.
    """
    smaller = {
        stage.name for stage in recipe.stages if stage.tile_size not in (None, recipe.tile_size)
    }
    final = [row for row in rows if row["stage"] not in smaller]
    return max(final or rows, key=lambda row: float(row["val_accuracy"]))


def _seen_history(run: Path, stage: int, epoch: int, recipe: Recipe) -> list[dict[str, str]]:
    """Returns the rows of the epochs that the checkpoint has seen."""
    seen = sum(stage.epochs for stage in recipe.stages[:stage]) + epoch
    rows = read_history(run)
    if len(rows) < seen:
        raise TrainingError(f"{run / HISTORY} has {len(rows)} epochs, the checkpoint {seen}")
    return rows[:seen]


def _print_header(bar: tqdm) -> None:
    bar.write("epoch  stage        loss    acc  val_loss  val_acc  learning rate  seconds")


def _print_row(bar: tqdm, row: dict[str, str]) -> None:
    bar.write(
        f"{row['epoch']:>5}  {row['stage']:<9} {row['loss']:>7} {row['accuracy']:>6} "
        f"{row['val_loss']:>9}  {row['val_accuracy']:>7} {row['learning_rate']:>14} "
        f"{row['seconds']:>8}"
    )
