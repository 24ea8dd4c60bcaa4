"""Classifies with MediaPipe Tasks; tests run it in an environment of its own.

usage: python mediapipe_classify.py MODEL PICTURE [LEFT TOP RIGHT BOTTOM]

The region is in shares of the picture's sides. Prints a JSON object of label to probability.
"""

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from mediapipe.tasks.python.components.containers.rect import RectF
from PIL import Image


def main() -> None:
    model, picture, *region = sys.argv[1:]
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=model), max_results=7
    )
    pixels = np.array(Image.open(picture).convert("RGB"))
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    where = None
    if region:
        left, top, right, bottom = map(float, region)
        where = vision.ImageProcessingOptions(
            region_of_interest=RectF(left=left, top=top, right=right, bottom=bottom)
        )
    classifier = vision.ImageClassifier.create_from_options(options)
    (found,) = classifier.classify(image, where).classifications
    print(json.dumps({entry.category_name: entry.score for entry in found.categories}))
    classifier.close()


if __name__ == "__main__":
    main()
