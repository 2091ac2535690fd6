"""SQAIR and its baselines AIR and VRNN on moving digits (Kosiorek et al., NeurIPS 2018): train, test, report.

Up to two digits accelerate over a grey frame of 50x50 pixels, leave it and come back (section 4.1). Models learn from
the pixels alone. Tested are the likelihood of clips, counting, adding the digits up from what a model knows of a frame,
and what a model makes up after three frames or from nothing.

  gin_configs/quick/sqair_mnist.gin                       minutes on two CPU cores, no download
  gin_configs/papers/sqair/{mlp,conv}_sqair.gin           the published experiments: SQAIR,
  gin_configs/papers/sqair/mlp_air.gin                    AIR, which sees every frame by itself,
  gin_configs/papers/sqair/{mlp,conv}_vrnn.gin            and VRNN, which knows no objects
  gin_configs/papers/sqair/mlp_sqair_appearing.gin        digits that appear and disappear
  gin_configs/papers/sqair/pedestrians.gin                people before a fixed camera (section 4.2)
"""

from reproduce import runner

if __name__ == "__main__":
    runner.run("sqair_mnist", "gin_configs/quick/sqair_mnist.gin", __doc__)
