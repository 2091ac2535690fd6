"""SILOT on Scattered MNIST (Crawford & Pineau, AAAI 2020, section 4.1): train, evaluate beside baselines, report.

Digits move over a black frame and bounce off its walls; the model learns without labels to find them, to keep their
identities and to predict them, and is tested on frames with more digits than it was trained on.

  gin_configs/quick/scattered_mnist.gin         minutes on two CPU cores, no download
  gin_configs/papers/silot/scattered_mnist*.gin the published experiments
  gin_configs/papers/silot/*sqair_*_digits.gin  its main baseline on the same test clips

`python -m reproduce.compare` puts finished runs of several models on one page.
"""

from reproduce import runner

if __name__ == "__main__":
    runner.run("scattered_mnist", "gin_configs/quick/scattered_mnist.gin", __doc__)
