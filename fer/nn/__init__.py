"""Everything that needs Keras: data, augmentation, model, training."""

import os

# Before TensorFlow is imported: its notes on the processor are not for people who train.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
