"""Unsupervised object-centric video models in TensorFlow 2 / Keras 3.

Importing this package does not start TensorFlow.
"""

__version__ = "0.1.0"
