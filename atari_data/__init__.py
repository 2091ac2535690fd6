"""Recording of Atari games with ale-py: see README.md. Importing this package needs neither ale-py nor TensorFlow."""
