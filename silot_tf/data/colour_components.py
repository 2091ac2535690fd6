"""Labels of drawn games: every connected patch of one colour is an object, ids by nearest centre of the same colour.

Frames of old games are drawn in few flat colours over black, so exact colours tell most objects apart. What this gets
wrong by construction: a figure of several colours becomes several objects, figures of one colour that touch become
one, and parts that lie more than a pixel apart become several.

Components of a frame depend on that frame alone, ids on pairs of successive frames. Labelling a whole episode and
cutting clips out of it therefore gives the same as labelling the clips, up to the numbering of ids.

Source: SILOT (Crawford and Pineau 2020), section 4.3; SILOT specification 5.4.
"""

import functools

import cv2
import numpy as np
from scipy import optimize, spatial

from silot_tf.data import colour_codes

OTHER_COLOUR_COST = 10_000.0  # added to the distance of two components of different colours; as much is no match

#: What labels depend on besides the frames, for manifests.
PARAMETERS = {
    "algorithm": "colour_components",
    "version": 1,
    "background": [0, 0, 0],
    "dilation": [[0, 0], [1, 0], [0, 1]],
    "connectivity": 8,
    "box_margin": 0.5,
    "other_colour_cost": OTHER_COLOUR_COST,
}


def label_frames(frames: np.ndarray, ignored_colours=()) -> dict[str, np.ndarray]:
    """Boxes and ids of everything that is not black in successive frames.

    In each frame, for each colour: the pixels of exactly that colour, together with their neighbours below and to the
    right, fall into 8-connected components, so that gaps of one pixel are bridged. A box has `top = first row - 1`,
    `bottom = last row`, the same for columns, of the component: it exceeds the pixels of that colour by half a pixel
    on each side (by none at the lower and right border of the frame, where there is no room for the neighbours).

    Ids carry over between successive frames by the assignment of least total cost, the distance of the boxes'
    centres plus 10,000 for different colours; pairs that cost 10,000 or more are no match. Everything without a match
    gets a fresh id, also what comes back after a gap.

    Args:
      frames: uint8 `[E,H,W,3]`, RGB, in order of time.
      ignored_colours: RGB triples in 0..255 that are background, besides black.

    Returns:
      `boxes [E,N,4]` float32 (top, bottom, left, right) in annotation pixels (see `silot_tf.ops.boxes`),
      `valid [E,N]` bool, `colour [E,N,3]` uint8, `track_id [E,N]` int32, numbered from 0 in order of appearance. N is
      the largest number of objects in a frame; rows that are not valid are last, and hold 0 (ids: -1). Objects of a
      frame stand in order of colour (by red, then green, then blue), then of their boxes from top to bottom.
    """
    ignored = set(colour_codes.codes_of(np.array([(0, 0, 0), *ignored_colours], np.uint8)).tolist())
    found = [_components_of_frame(frame, ignored) for frame in frames]
    ids, next_id = [], 0
    for t, (boxes, colours) in enumerate(found):
        carried = _carry_over(*found[t - 1], ids[t - 1], boxes, colours) if t else np.full(len(boxes), -1)
        fresh = carried < 0
        carried[fresh] = next_id + np.arange(fresh.sum())
        next_id += int(fresh.sum())
        ids.append(carried)
    return _padded(found, ids)


def _components_of_frame(frame: np.ndarray, ignored) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[n,4]` float64 and colour codes `[n]` of one frame `[H,W,3]`."""
    codes = colour_codes.codes_of(frame)
    boxes, colours = [np.empty((0, 4))], [np.empty(0, np.int64)]
    for code in colour_codes.distinct(codes).tolist():
        if code not in ignored:
            mask = codes == code
            boxes.append(_boxes_of_mask(np.packbits(mask).tobytes(), mask.shape))
            colours.append(np.full(len(boxes[-1]), code))
    return np.concatenate(boxes), np.concatenate(colours)


@functools.lru_cache(maxsize=4096)  # most of what is on the screen is as it was one or two frames before
def _boxes_of_mask(packed: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Boxes `[n,4]` of the components of one colour."""
    mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=shape[0] * shape[1]).reshape(shape)
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:, 1:] |= mask[:, :-1]
    # Most colours are in a small part of the frame.
    column, row, columns, rows = cv2.boundingRect(grown)
    part = grown[row : row + rows, column : column + columns]
    _, _, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    left, top, width, height = (stats[1:, i].astype(np.float64) for i in range(4))
    top, left = top + row, left + column
    boxes = np.stack([top - 1, top + height - 1, left - 1, left + width - 1], axis=-1)
    boxes = boxes[np.lexsort(boxes.T[[3, 1, 2, 0]])]
    boxes.flags.writeable = False  # shared by all who ask
    return boxes


def _carry_over(old_boxes, old_colours, old_ids, boxes, colours) -> np.ndarray:
    """Ids `[n]` of the objects of a frame that were in the frame before, -1 for the others."""
    cost = spatial.distance.cdist(_centres(old_boxes), _centres(boxes))
    cost += OTHER_COLOUR_COST * (old_colours[:, None] != colours)
    # Colours cannot be assigned one by one: what is left over of two colours is paired as well, and the distance of
    # that pair has a say in who is left over.
    old, new = optimize.linear_sum_assignment(cost)
    same = cost[old, new] < OTHER_COLOUR_COST
    ids = np.full(len(boxes), -1)
    ids[new[same]] = np.asarray(old_ids)[old[same]]
    return ids


def _centres(boxes: np.ndarray) -> np.ndarray:
    """`[n,2]` (y, x)."""
    return (boxes[:, 0::2] + boxes[:, 1::2]) / 2


def _padded(found, ids) -> dict[str, np.ndarray]:
    """Arrays with a row for each object, see `label_frames`."""
    counts = np.array([len(own) for own in ids], np.int64)
    valid = np.arange(counts.max(initial=0)) < counts[:, None]
    labels = {
        "boxes": np.zeros((*valid.shape, 4), np.float32),
        "valid": valid,
        "colour": np.zeros((*valid.shape, 3), np.uint8),
        "track_id": np.full(valid.shape, -1, np.int32),
    }
    if counts.sum():
        labels["boxes"][valid] = np.concatenate([boxes for boxes, _ in found])
        codes = np.concatenate([colours for _, colours in found])
        labels["colour"][valid] = colour_codes.colours_of(codes)
        labels["track_id"][valid] = np.concatenate(ids)
    return labels
