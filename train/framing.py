"""Measures FER2013's framing: ``python -m train.framing --data fer2013.zip``.

Where does the face detector see the face in a FER2013 image? The medians become
`fer.spec.FER2013_CROP`, so that a photo's crop is framed like a training image.
"""

import argparse

import cv2
import numpy as np
from tqdm import tqdm

from fer._stderr import silent_stderr
from fer.faces import BlazeFaceDetector

with silent_stderr():
    from fer.nn import dataset
    from train.command import add_data_options, run

_SIDE = 192
_CANVAS = 256


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m train.framing", description=__doc__)
    add_data_options(parser)
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="images to look at")
    options = parser.parse_args()
    data = dataset.load(options.data).split("Training")
    order = np.random.default_rng(0).permutation(len(data))[: options.images]
    detector = BlazeFaceDetector()
    border = (_CANVAS - _SIDE) // 2
    scales, offsets = [], []
    for image in tqdm(data.images[order], unit="image", leave=False, disable=None):
        large = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        # A face that fills the picture is found more often with something around it.
        canvas = cv2.copyMakeBorder(large, *[border] * 4, cv2.BORDER_REPLICATE)
        boxes = detector.detect(cv2.cvtColor(canvas, cv2.COLOR_GRAY2RGB))
        if boxes:
            box = max(boxes, key=lambda found: found.width * found.height)
            scales.append(_SIDE / max(box.width, box.height))
            offsets.append((_CANVAS / 2 - (box.y + box.height / 2)) / _SIDE)
    print(f"faces found in {len(scales)} of {len(order)} images")
    for name, values in (("scale", scales), ("offset_y", offsets)):
        low, middle, high = np.percentile(values, (25, 50, 75))
        print(f"{name:<9} median {middle:.3f}, half of the images {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    run(_main)
