"""Recipes as code: every number that decides a training run, named.

    python -m train --recipe NAME --data PATH --out runs/NAME

========  =====  ==========================================================================
recipe    tile   what it is
========  =====  ==========================================================================
paper      200   exactly the paper's parameters; wants a GPU
cpu         96   what trains well on two cores
refine     112   what goes on from a checkpoint of `cpu`, with it as teacher
finish     112   the last epochs after `refine`, on images that are not mixed
smoke       64   a few steps that prove the whole path, in seconds
========  =====  ==========================================================================
"""

import dataclasses

from fer.nn.augment import Augmentation
from fer.nn.fit import Recipe, Stage

PAPER = Recipe(
    tile_size=200,
    batch_size=32,
    stages=(
        Stage("frozen", 40, train_backbone=False, learning_rate=1e-3),
        Stage("whole", 40, train_backbone=True, learning_rate=1e-3, schedule="plateau"),
    ),
    dropout=0.3,
    # "Rotation at most ten percent" is read as a tenth of a full turn, and zoom 0.9 and shift 0.5
    # as Keras reads them: a factor of 0.1 to 1.9, and up to half the side.
    augmentation=Augmentation(flip=True, rotation=36.0, zoom=0.9, shift=0.5),
)

CPU = Recipe(
    tile_size=96,
    batch_size=64,
    # No frozen stage: behind batch norms that keep their ImageNet statistics the warm start's
    # features say little about faces, and the first steps of the whole network undo that stage.
    stages=(
        Stage("small", 8, True, learning_rate=1e-3, schedule="cosine", tile_size=64),
        Stage("whole", 16, True, learning_rate=8e-4, schedule="cosine", warmup=0.1),
    ),
    dropout=0.3,
    weight_decay=0.02,
    label_smoothing=0.1,
    ferplus_weight=1.0,
    ema=0.998,
    clip_norm=5.0,
    augmentation=Augmentation(
        flip=True,
        rotation=15.0,
        zoom=0.15,
        shift=0.12,
        contrast=0.25,
        brightness=25.0,
        gamma=0.2,
        sharpness=0.8,
        resample=0.25,
        erase=0.2,
        mixup=0.2,
    ),
)

REFINE = dataclasses.replace(
    CPU,
    tile_size=112,
    stages=(
        Stage(
            "refine", 13, True, learning_rate=5e-4, schedule="cosine", warmup=0.1, frozen_blocks=2
        ),
    ),
    dropout=0.4,
    weight_decay=0.05,
    ema=0.999,
    augmentation=dataclasses.replace(
        CPU.augmentation, erase=0.3, noise=8.0, mixup=0.4, mixup_share=0.75
    ),
)

# Mixed images and smoothed labels keep a network from learning the noise, and from learning what
# a whole face's score should be; a short end without either mends that (He et al. 2019, "Data
# augmentation revisited").
FINISH = dataclasses.replace(
    REFINE,
    stages=(Stage("finish", 4, True, learning_rate=2e-4, schedule="cosine", frozen_blocks=2),),
    label_smoothing=0.0,
    ema=0.998,
    augmentation=dataclasses.replace(REFINE.augmentation, erase=0.15, mixup=0.0),
)

SMOKE = dataclasses.replace(
    CPU, tile_size=64, batch_size=8, stages=PAPER.stages, max_images=128
).with_epochs(1)

RECIPES: dict[str, Recipe] = {
    "paper": PAPER,
    "cpu": CPU,
    "refine": REFINE,
    "finish": FINISH,
    "smoke": SMOKE,
}
