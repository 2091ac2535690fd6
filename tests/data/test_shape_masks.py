import numpy as np
import pytest
from matplotlib.path import Path
from scipy import ndimage

from silot_tf.data import moving_patches, shape_masks
from silot_tf.data.shape_masks import SHAPES

#: SILOT specification 5.3, measured on the masters of the published experiments.
AREAS = {"circle": 0.786, "diamond": 0.504, "plus": 0.326, "x": 0.477, "star": 0.322}


def polygon_area(corners):
    y, x = np.asarray(corners).T
    return abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2


@pytest.mark.parametrize("shape", SHAPES)
def test_area_is_that_of_the_published_masters(shape):
    assert shape_masks.master(shape).mean() == pytest.approx(AREAS[shape], abs=0.004)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi / 4),
        ("diamond", 0.5),
        ("plus", 2 * 0.179 - 0.179**2),
        ("x", 2 * 1.193 * 0.221 - 0.221**2),
        ("star", polygon_area(shape_masks.star_corners())),
    ],
)
def test_area_is_that_of_the_geometry(shape, area):
    assert shape_masks.master(shape).mean() == pytest.approx(area, abs=1e-3)


def test_star_fills_the_square_and_has_the_published_proportions():
    corners = shape_masks.star_corners()
    np.testing.assert_allclose([corners.min(0), corners.max(0)], [[0, 0], [1, 1]], atol=1e-12)
    assert corners[0].tolist() == pytest.approx([0, 0.5])  # one point up
    stretched = corners * [0.951, 1]  # back to its own proportions
    centre = stretched[::2].mean(0)
    radii = np.linalg.norm(stretched - centre, axis=1)
    np.testing.assert_allclose(radii[::2], radii[0], rtol=1e-3)
    np.testing.assert_allclose(radii[1::2] / radii[0], 0.380, rtol=1e-3)


def test_points_of_the_star_are_those_inside_its_outline():
    points = np.random.default_rng(0).uniform(0, 1, (5000, 2))
    outline = Path(shape_masks.star_corners())
    np.testing.assert_array_equal(shape_masks.contains("star", *points.T), outline.contains_points(points))


def test_unknown_shape_is_an_error():
    with pytest.raises(ValueError, match="circle"):
        shape_masks.contains("square", 0.5, 0.5)


@pytest.mark.parametrize("shape", SHAPES)
def test_masters_touch_all_four_sides(shape):
    master = shape_masks.master(shape)
    assert master.shape == (134, 134) and master.min() >= 0 and master.max() == 1
    for side in (master[0], master[-1], master[:, 0], master[:, -1]):
        assert side.max() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_fill_14_rows_and_columns_and_are_opaque_at_254(shape):
    mask = shape_masks.mask(shape)
    assert mask.shape == (14, 14) and mask.dtype == np.uint8
    np.testing.assert_array_equal(moving_patches.content_extent(mask[None]), [[0, 14, 0, 14]])
    assert mask.max() == 254 and (mask == 254).sum() >= 4 and (mask == 0).sum() >= 12


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_have_the_symmetries_of_their_shapes(shape):
    mask = shape_masks.mask(shape)
    np.testing.assert_array_equal(mask, mask[:, ::-1])
    assert np.array_equal(mask, mask[::-1]) == np.array_equal(mask, mask.T) == (shape != "star")


@pytest.mark.parametrize("shape", SHAPES)
def test_mask_is_the_shrunken_master_cut_to_integers(shape):
    master = shape_masks.master(shape)
    blurred = ndimage.gaussian_filter(master, (134 / 14 - 1) / 2, mode="mirror")
    centres = (np.arange(14) + 0.5) * 134 / 14 - 0.5
    small = ndimage.map_coordinates(blurred, np.meshgrid(centres, centres, indexing="ij"), order=1, mode="mirror")
    inside = small < 1 - 1e-6
    np.testing.assert_array_equal(shape_masks.mask(shape)[inside], np.floor(255 * small[inside]))
    assert (shape_masks.mask(shape)[~inside] == 254).all()


@pytest.mark.parametrize("size", [(14, 14), (20, 17), (9, 8), (19, 10), (10, 19), (14, 9), (20, 14)])
def test_resizing_equals_blur_and_interpolation_of_scipy(size):
    image = np.random.default_rng(1).uniform(0, 254, (14, 14))
    factors = 14 / np.array(size)
    shrinks = (factors > 1).any()
    mode = "mirror" if shrinks else "nearest"
    blurred = ndimage.gaussian_filter(image, np.maximum(0, (factors - 1) / 2), mode="mirror")
    grid = np.meshgrid(*((np.arange(n) + 0.5) * 14 / n - 0.5 for n in size), indexing="ij")
    expected = ndimage.map_coordinates(blurred, grid, order=1, mode=mode)
    np.testing.assert_allclose(shape_masks.resize(image, size), expected, atol=1e-9)


def test_flat_pictures_stay_flat():
    for size in ((14, 14), (9, 9), (21, 18), (8, 21)):
        np.testing.assert_allclose(shape_masks.resize(np.full((14, 14), 254.0), size), 254)


@pytest.mark.parametrize("shape", SHAPES)
def test_patches_of_any_size_reach_their_border_visibly(shape):
    """Also in the darkest colour, where half of the opacity is cut away."""
    np.testing.assert_array_equal(shape_masks.patch(shape, 14, 14), shape_masks.mask(shape))
    for rows in range(8, 21, 3):
        for columns in range(8, 21, 3):
            patch = shape_masks.patch(shape, rows, columns)
            assert patch.shape == (rows, columns) and patch.dtype == np.float32
            assert patch.min() >= 0 and patch.max() <= 254
            assert min(side.max() for side in (patch[0], patch[-1], patch[:, 0], patch[:, -1])) >= 2
