"""SILOT on Scattered Shapes (Crawford & Pineau, AAAI 2020, section 4.2): train, evaluate beside baselines, report.

Coloured shapes move over a black frame of 96x96 pixels. Networks are trained on few or many shapes, on whole frames or
on crops of 60x60 pixels, and tested on whole frames with up to 35 shapes, more than any of them was trained on.

  gin_configs/quick/scattered_shapes.gin            coffee-break size, on two CPU cores
  gin_configs/papers/silot/scattered_shapes_*.gin   the published experiments and 11-20 shapes, one file each
"""

from reproduce import runner

if __name__ == "__main__":
    runner.run("scattered_shapes", "gin_configs/quick/scattered_shapes.gin", __doc__)
