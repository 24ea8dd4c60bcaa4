"""The paper's numbers, as it prints them.

Source: "Facial Expression Recognition Using Deep Learning EfficientNetB0", Iraqi Journal of
Science, 2026. Its scores are of PrivateTest, the 3,589 images that it calls its test set. It
lists the classes in another order, so everything per class is keyed by the label here.
"""

from dataclasses import dataclass

TITLE = "Facial Expression Recognition Using Deep Learning EfficientNetB0"
JOURNAL = "Iraqi Journal of Science, 2026"
SPLIT = "PrivateTest"

Scores = tuple[float, float, float]
"""Precision, recall and F1, in [0, 1]."""


@dataclass(frozen=True)
class Step:
    """One of the paper's two training steps.

    Attributes:
        number: 1 or 2.
        name: What it does.
        validation: Best validation accuracy, in words: two places of the paper differ.
        accuracy: Test accuracy in [0, 1], printed with two digits.
        macro: Means over the classes.
        per_class: Scores per label.
        epochs: Its table of epochs.
        curves: Its figure of accuracy and loss.
        confusion: Its figure of the confusion matrix.
        report: Its table of precision, recall and F1.
    """

    number: int
    name: str
    validation: str
    accuracy: float
    macro: Scores
    per_class: dict[str, Scores]
    epochs: str
    curves: str
    confusion: str
    report: str


FROZEN = Step(
    number=1,
    name="feature extractor frozen",
    validation="70.60%",
    accuracy=0.70,
    macro=(0.69, 0.68, 0.68),
    per_class={
        "neutral": (0.65, 0.69, 0.67),
        "happy": (0.88, 0.87, 0.88),
        "sad": (0.55, 0.51, 0.53),
        "surprise": (0.84, 0.77, 0.80),
        "fear": (0.57, 0.53, 0.55),
        "disgust": (0.78, 0.76, 0.77),
        "angry": (0.53, 0.64, 0.58),
    },
    epochs="Table 5",
    curves="Figure 5",
    confusion="Figure 6",
    report="Table 6",
)

WHOLE = Step(
    number=2,
    name="whole network",
    validation="73.11% in its table of epochs, 72.69% in its text",
    accuracy=0.72,
    macro=(0.73, 0.71, 0.72),
    per_class={
        "neutral": (0.66, 0.74, 0.70),
        "happy": (0.91, 0.91, 0.91),
        "sad": (0.58, 0.58, 0.58),
        "surprise": (0.81, 0.86, 0.84),
        "fear": (0.62, 0.55, 0.58),
        "disgust": (0.83, 0.73, 0.78),
        "angry": (0.67, 0.63, 0.65),
    },
    epochs="Table 7",
    curves="Figure 7",
    confusion="Figure 8",
    report="Table 8",
)

STEPS: tuple[Step, ...] = (FROZEN, WHOLE)

SUPPORT: dict[str, int] = {
    "neutral": 626,
    "happy": 879,
    "sad": 594,
    "surprise": 416,
    "fear": 528,
    "disgust": 55,
    "angry": 491,
}
"""Test images per label."""

TRAINING_IMAGES = 28_709
TEST_IMAGES = 3_589

SETTINGS: dict[str, str] = {
    "Network input": "200 × 200 pixels",
    "Training images": f"{TRAINING_IMAGES:,}",
    "Stages": "1: the extractor is frozen, 40 epochs, learning rate 0.001; then 2: the whole "
    "network learns, 40 epochs, learning rate 0.001, halved when validation stalls",
    "Batch size": "32",
    "Optimizer": "Adam",
    "Dropout": "0.3",
    "Augmentation": "zoom (range “0.9”), horizontal flip, rotation (at most ten percent), shift "
    "(“0.5”)",
}
"""The paper's setting for each row of the report's table of settings."""

SYSTEMS: tuple[tuple[str, str], ...] = (
    ("Attention CNN, without and with LBP", "67 and 73"),
    ("EfficientNetB0 and MobileNetV2 with two dense layers and dropout", "74.39"),
    ("EfficientNetB0 alone, of the same work", "73.33 in the text, 73.28 in the table"),
    ("AlexNet, ResNet50 and InceptionV3", "73.56"),
    ("VGG-16 with global average pooling", "69.40"),
    ("Plain CNN", "65"),
    ("LBP or HOG with a deep network", "93.26"),
    ("Hybrid CNN", "97.07"),
)
"""Systems that the paper compares itself with on FER2013, and the accuracy it gives, percent."""
