"""Everything that needs Keras: data, augmentation, model, training."""
