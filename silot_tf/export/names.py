"""Names in exports, and what stands behind them."""

STATE_PREFIX = "state__"

#: Entry of the object table -> (shape after the batch dimension, unit and meaning).
TABLE = {
    "boxes": ("[K,4]", "y, x (centre), height, width in pixels; the frame's top-left corner is 0, 0"),
    "presence": ("[K]", "0 to 1, how surely the slot holds an object"),
    "ids": ("[K]", "identity of the tracked object, counted from 0 since the last reset, never given twice; -1: none"),
    "is_new": ("[K]", "whether this is the first frame of the slot's object"),
    "depth": ("[K]", "larger is nearer to the camera; no unit"),
    "appearance": ("[K,A]", "vector that describes how the object looks; no unit"),
}
#: Of float frames. Resizing rounds values a little beyond 0 and 1.
FLOAT_RANGE = (-1e-3, 1 + 1e-3)
#: Results that are left out unless they are asked for.
IMAGES = ("reconstruction", "masks")
