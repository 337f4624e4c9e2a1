from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.datasets.images import (
    looks_complete,
    read_color,
    read_color_mask,
    read_depth,
    read_depth_mask,
)
from pipelines.errors import DataInvalid, DataMissing

SIZE = (16, 8)


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def test_columns_are_reversed_and_depth_is_kept_bit_by_bit(tmp_path):
    raw = np.arange(128, dtype=np.uint16).reshape(8, 16) * 500
    read = read_depth(write(tmp_path / "d.png", raw), SIZE)
    np.testing.assert_array_equal(read, raw[:, ::-1])
    assert read.flags.c_contiguous


@given(arrays(np.uint16, (8, 16)))
def test_any_depth_survives_the_file(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.png"
    np.testing.assert_array_equal(read_depth(write(path, raw[:, ::-1]), SIZE), raw)


def test_colour_is_rgb_of_the_true_image(tmp_path):
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:, :8] = (0, 0, 255)  # BGR red in the left half of the file
    image = read_color(write(tmp_path / "c.png", stored), SIZE)
    assert image[:, 8:].tolist() == [[[255, 0, 0]] * 8] * 8
    assert (image[:, :8] == 0).all()


def test_black_is_the_person(tmp_path):
    stored = np.full((8, 16), 255, np.uint8)
    stored[2, 3] = 0
    mask = read_color_mask(write(tmp_path / "m.png", stored), SIZE)
    assert np.argwhere(mask).tolist() == [[2, 12]]


def test_any_body_number_is_a_person_in_the_sensors_mask(tmp_path):
    stored = np.full((8, 16), 255, np.uint8)
    stored[1, 0], stored[1, 1], stored[1, 2] = 0, 5, 254
    mask = read_depth_mask(write(tmp_path / "m.png", stored), SIZE)
    assert np.argwhere(mask).tolist() == [[1, 13], [1, 14], [1, 15]]


@pytest.mark.parametrize("bits", ["8-bit", "colour"])
def test_depth_that_is_not_16_bit_is_refused(tmp_path, bits):
    image = np.zeros((8, 16) if bits == "8-bit" else (8, 16, 3), np.uint8)
    with pytest.raises(DataInvalid, match=r"not 16-bit[\s\S]*d\.png[\s\S]*uint8"):
        read_depth(write(tmp_path / "d.png", image), SIZE)


@pytest.mark.parametrize("value", [0, 1])
def test_an_inverted_or_blank_mask_is_refused(tmp_path, value):
    stored = np.full((8, 16), value, np.uint8)
    reader = read_color_mask if value == 0 else read_depth_mask
    with pytest.raises(DataInvalid, match="100% person"):
        reader(write(tmp_path / "m.png", stored), SIZE)


def test_another_size_is_refused(tmp_path):
    with pytest.raises(DataInvalid, match=r"expected: 16 x 8[\s\S]*found: 8 x 4"):
        read_depth(write(tmp_path / "d.png", np.zeros((4, 8), np.uint16)), SIZE)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@given(share=st.floats(0, 0.995))
def test_a_truncated_image_is_refused_at_any_length(tmp_path_factory, suffix, share):
    path = tmp_path_factory.getbasetemp() / f"cut.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    content = cv2.imencode(f".{suffix}", noise)[1].tobytes()
    path.write_bytes(content)
    assert looks_complete(path)
    read_color(path, (64, 64))
    path.write_bytes(content[: int(share * len(content))])
    assert not looks_complete(path)
    with pytest.raises(DataInvalid, match="cut"):
        read_color(path, (64, 64))


def test_damage_inside_a_png_is_noticed(tmp_path):
    path = write(tmp_path / "d.png", np.random.default_rng(0).integers(0, 9, (8, 16)).astype(np.uint16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataInvalid, match="truncated or damaged"):
        read_depth(path, SIZE)


def test_text_and_absence_are_told_apart(tmp_path):
    (tmp_path / "t.png").write_text("404 not found")
    with pytest.raises(DataInvalid, match="truncated or damaged"):
        read_depth(tmp_path / "t.png", SIZE)
    (tmp_path / "e.png").write_bytes(b"")
    with pytest.raises(DataInvalid, match="empty file"):
        read_depth(tmp_path / "e.png", SIZE)
    with pytest.raises(DataMissing, match=r"absent\.png"):
        read_depth(tmp_path / "absent.png", SIZE)
    assert not looks_complete(tmp_path / "absent.png")
