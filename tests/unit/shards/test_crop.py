"""The box and crop rule by hand, and its agreement with the networks' own geometry."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shards.crop import CROP_PX, body_box, crop_image, encode_crop, in_view, square_box
from sahmr.networks.crop_geometry import in_frustum
from sahmr.types import CropCameras

K = np.array([[500.0, 0.0, 320.0], [0.0, 400.0, 240.0], [0.0, 0.0, 1.0]])


def test_body_box_by_hand():
    body = np.array([[-1.0, 0.0, 2.0], [1.0, -2.0, 4.0], [0.0, 1.0, 2.0]])
    assert body_box(body, K) == pytest.approx((70, 40, 445, 440))
    assert body_box(np.concatenate([body, [[0.0, 0.0, -1.0]]]), K) is None


def test_square_box_by_hand():
    """100 x 200 round (150, 300): half side 1.15 x 100."""
    assert square_box((100.0, 200.0, 200.0, 400.0)) == pytest.approx((35, 185, 265, 415))


def test_corner_pixels_lie_on_the_box_corners():
    image = np.zeros((60, 80, 3), np.uint8)
    image[10, 20], image[50, 60] = (200, 10, 0), (0, 30, 90)
    crop = crop_image(image, (20.0, 10.0, 60.0, 50.0), 11)  # one sample every 4 pixels
    assert crop[0, 0].tolist() == [200, 10, 0]
    assert crop[10, 10].tolist() == [0, 30, 90]
    assert not crop[1:10, 1:10].any()


def test_crop_of_whole_pixels_copies_them_and_is_black_outside():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    crop = crop_image(image, (-5.0, 8.0, 10.0, 23.0), 16)
    assert np.array_equal(crop[:12, 5:], image[8:20, 0:11])
    assert not crop[:, :5].any()
    assert not crop[12:].any()


def test_a_margin_adds_pixels_around_and_moves_none():
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    box = (100.0, 110.0, 180.0, 190.0)
    wide = crop_image(image, box, 41, margin_px=7)
    assert wide.shape == (55, 55, 3)
    assert np.array_equal(wide[7:-7, 7:-7], crop_image(image, box, 41))
    assert np.array_equal(wide[0, 0], image[110 - 14, 100 - 14])  # one sample every 2 pixels


def test_an_encoded_crop_keeps_its_colours():
    smooth = np.zeros((CROP_PX, CROP_PX, 3), np.uint8)
    smooth[..., 0], smooth[..., 2] = 200, np.linspace(0, 255, CROP_PX)
    again = cv2.imdecode(encode_crop(smooth, 95), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(again.astype(int) - smooth).mean() < 2


@given(st.integers(0, 1000))
def test_the_view_of_a_crop_is_the_networks_frustum(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-3, -3, -1), (3, 3, 14), (300, 3))
    box = tuple(float(np.float32(value)) for value in square_box((200.0, 100.0, 400.0, 420.0)))
    cameras = CropCameras(torch.tensor([box], dtype=torch.float64), torch.from_numpy(K)[None])
    expected = in_frustum(torch.from_numpy(points), torch.zeros(300, dtype=torch.long), cameras)
    assert np.array_equal(in_view(points, box, K), expected.numpy())
