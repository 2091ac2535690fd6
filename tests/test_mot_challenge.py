import numpy as np
import pytest

from silot_tf import mot_challenge
from silot_tf.errors import UserError

SIZE = (100, 200)  # (rows, columns)


def write(tmp_path, *rows):
    path = tmp_path / "gt.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_rows_are_read_with_and_without_further_columns(tmp_path):
    path = write(tmp_path, "1,7,10.5,20,30,40,1,-1,-1,-1", "", "# a remark", "2 7 11 20 30 40", "2,8,0,0,5,5,0,1,2,3")
    rows = mot_challenge.read(path, 3, SIZE)
    assert rows.frame.tolist() == [1, 2] and rows.track_id.tolist() == [7, 7]  # conf 0 is left out
    np.testing.assert_array_equal(rows.boxes[0], [10.5, 20, 30, 40])
    np.testing.assert_array_equal(rows.edges[0], [20, 60, 10.5, 40.5])


def test_cells_beyond_the_seventh_may_be_empty(tmp_path):
    rows = mot_challenge.read(write(tmp_path, "1, 7, 10.5, 20, 30, 40, 1,,", "2,7,11,20,30,40,1,-1,,"), 3, SIZE)
    np.testing.assert_array_equal(rows.boxes, [[10.5, 20, 30, 40], [11, 20, 30, 40]])


def test_a_mark_of_byte_order_does_not_hurt(tmp_path):
    (tmp_path / "gt.txt").write_bytes(b"\xef\xbb\xbf1,7,10,20,30,40,1\r\n2,7,11,20,30,40,1\r\n")
    assert mot_challenge.read(tmp_path / "gt.txt", 3, SIZE).frame.tolist() == [1, 2]


@pytest.mark.filterwarnings("error")
def test_largest_numbers_are_kept_apart(tmp_path):
    path = write(tmp_path, f"{2**53 - 1},{2**53 - 1},10,20,30,40", f"1,{2**53 - 2},10,20,30,40")
    rows = mot_challenge.read(path)
    assert rows.track_id.tolist() == [2**53 - 1, 2**53 - 2] and rows.frame.tolist() == [2**53 - 1, 1]
    with pytest.raises(UserError, match=r"row 1: frame is 1e\+300"):
        mot_challenge.read(write(tmp_path, "1e300,1,10,20,30,40"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("2,1,10,20,30", "5 numbers"),
        ("2,1,10,20,thirty,40", "thirty"),
        ("2,1,10,20,nan,40", "numbers"),
        ("1,1,,1,5,5,1", "cell 3 is empty"),
        ("2,1,10,20,30,", "cell 6 is empty"),
        ("2,1,10,20,30,40, ,-1", "cell 7 is empty"),
        ("2,1 10,20,30,40,1", "1 10"),
        ("2,9007199254740992,10,20,30,40", "id is 9.0072e+15, expected a number below 2**53"),
        ("2,1e300,10,20,30,40", "id is 1e+300"),
        ("-1e300,1,10,20,30,40", "frame is -1e+300"),
        ("2.5,1,10,20,30,40", "frame is 2.5"),
        ("2,1.5,10,20,30,40", "id is 1.5"),
        ("0,1,10,20,30,40", "frame 0 is outside of the video, whose frames are 1 to 5"),
        ("6,1,10,20,30,40", "frame 6 is outside of the video, whose frames are 1 to 5"),
        ("2,-1,10,20,30,40", "id -1"),
        ("2,1,10,20,0,40", "width and height above 0"),
        ("2,1,500,20,30,40", "outside of the frame of 200x100"),
        ("2,1,10,-50,30,40", "outside of the frame"),
        ("1,1,11,20,30,40", "id 1 in frame 1 again, it was in row 1"),
    ],
)
def test_bad_row_is_told_with_its_number(tmp_path, row, complaint):
    path = write(tmp_path, "1,1,10,20,30,40,1", "1,2,10,20,30,40,1", row)
    with pytest.raises(UserError, match="row 3") as caught:
        mot_challenge.read(path, 5, SIZE)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_and_no_rows_are_errors(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        mot_challenge.read(tmp_path / "gt.txt", 5, SIZE)
    with pytest.raises(UserError, match="is a folder"):
        mot_challenge.read(tmp_path, 5, SIZE)
    with pytest.raises(UserError, match="no row that counts"):
        mot_challenge.read(write(tmp_path, "1,1,10,20,30,40,0"), 5, SIZE)
    (tmp_path / "gt.txt").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="cannot be read"):
        mot_challenge.read(tmp_path / "gt.txt", 5, SIZE)


def test_a_file_may_be_read_without_its_video(tmp_path):
    path = write(tmp_path, "900,1,10,20,30,40,1", "2,1,5000,20,30,40,1")
    assert mot_challenge.read(path).frame.tolist() == [900, 2]
    with pytest.raises(UserError, match="row 2: frame 0 is outside"):
        mot_challenge.read(write(tmp_path, "1,1,10,20,30,40,1", "0,1,10,20,30,40,1"))
