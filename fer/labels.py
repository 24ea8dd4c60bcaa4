"""The seven expressions, in the official FER2013 order. Every array of seven follows it."""

LABELS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
