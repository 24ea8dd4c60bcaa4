"""Facial expressions from photos: seven calibrated probabilities for every face."""

__version__ = "0.1.0"
