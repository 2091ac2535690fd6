"""SILOT on Atari games (Crawford & Pineau, AAAI 2020, section 4.3): record, train, evaluate, report.

Episodes are recorded from the emulator (package ale-py) when they are first needed; networks are trained on small crops
and tested on whole frames with more slots. The labels they are compared with are connected components of one colour.

  gin_configs/quick/space_invaders.gin                                                     minutes on two CPU cores
  gin_configs/papers/silot/{space_invaders,asteroids,carnival,wizard_of_wor}.gin           the published experiments
  gin_configs/smoke/atari.gin                               a test of the machinery, numbers without meaning
"""

from reproduce import runner

if __name__ == "__main__":
    runner.run("atari", "gin_configs/quick/space_invaders.gin", __doc__)
