"""Shards as training samples: whole, in any order, from any process, equal whenever they are read."""

import multiprocessing
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pipelines.errors import DataInvalid
from pipelines.shards.collection import ShardCollection
from pipelines.shards.crop import decode_crop
from pipelines.shards.sampler import EpochSampler, SampleKey
from sahmr.data.augment import AugmentationSettings, StoredCrop, jitter_box, sample_seed
from sahmr.data.collate import collate, normalise_batch
from sahmr.data.crop import PersonView, crop_image, normalise, prepare_crop
from sahmr.data.dataset import TrainingSamples


@pytest.fixture
def samples(body_shards):
    return TrainingSamples(ShardCollection(body_shards()))


@pytest.fixture
def varied(body_shards):
    return TrainingSamples(ShardCollection(body_shards()), AugmentationSettings())


def assert_equal(one, other):
    for field in fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def test_a_sample_is_what_prediction_would_prepare_from_the_whole_image(samples):
    sample, scene = samples[5], samples.collection.scene_of(5)
    left, up, right, bottom = sample.box_px.astype(float)
    inset = (right - left) / 2 * (1 - 1 / 1.15)
    person = (left + inset, up + inset, right - inset, bottom - inset)
    view = PersonView(np.zeros((1080, 1920, 3), np.uint8), person, sample.K, sample.T_world_from_camera)
    crop = prepare_crop(view, scene.points_world)
    np.testing.assert_allclose(sample.box_px, crop.cameras.boxes_px[0], atol=1e-3)
    found, expected = sample.scene_points_camera, crop.scene.points_camera.numpy()
    assert 100 < len(found) < len(scene.points_world)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_unvaried_crop_is_the_middle_of_the_stored_one_pixel_by_pixel(samples):
    stored = decode_crop(samples.collection[0].crop_jpeg, "first")
    assert stored.shape == (320, 320, 3)
    np.testing.assert_array_equal(samples[0].image, stored[48:272, 48:272])
    again = StoredCrop(stored, samples[0].box_px).cut(samples[0].box_px.astype(np.float64))[0]
    assert np.abs(again.astype(int) - samples[0].image).max() <= 1


def test_a_varied_crop_shows_what_a_cut_from_the_photograph_would_show():
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    photograph = cv2.resize(small, (1600, 1200), interpolation=cv2.INTER_CUBIC)
    box = np.array([600, 400, 1046, 846], np.float32)  # two pixels of the photograph per crop pixel
    wide = (600.0 - 96, 400.0 - 96, 1046.0 + 96, 846.0 + 96)
    stored = StoredCrop(crop_image(photograph, wide, 320), box)
    new = jitter_box(box, AugmentationSettings(), np.random.default_rng(3))
    found, found_box = stored.cut(new)
    expected = crop_image(photograph, tuple(new.tolist()))
    np.testing.assert_allclose(found_box, new, atol=1e-3)
    assert np.abs(found.astype(int) - expected).mean() < 1


def test_boxes_vary_as_the_page_says():
    box, settings = np.array([100, 200, 330, 430], np.float32), AugmentationSettings()
    rng = np.random.default_rng(0)
    drawn = np.array([jitter_box(box, settings, rng) for _ in range(2000)])
    centre = (drawn[:, :2] + drawn[:, 2:]) / 2 - [215, 315]
    scale = (drawn[:, 2] - drawn[:, 0]) / 230 * 1.15
    np.testing.assert_allclose(drawn[:, 3] - drawn[:, 1], drawn[:, 2] - drawn[:, 0])
    assert 9.5 < np.abs(centre).max() <= 10
    assert abs(centre.mean()) < 0.5
    assert 1.15 <= scale.min() < 1.16
    assert 1.54 < scale.max() <= 1.55


def test_colours_vary_only_on_request(body_shards):
    collection = ShardCollection(body_shards())
    still = {"centre_px": 0.0, "zoom": 0.0}
    plain = TrainingSamples(collection, AugmentationSettings(**still))[0].image
    bright = TrainingSamples(collection, AugmentationSettings(**still, colour_gain=0.3))[0].image
    ratio = bright.reshape(-1, 3).mean(0) / plain.reshape(-1, 3).mean(0)
    assert (np.abs(ratio - 1) < 0.31).all()
    assert np.abs(ratio - 1).max() > 0.01
    assert len(set(ratio.round(3).tolist())) == 3


def test_a_sample_depends_on_epoch_and_row_alone(varied, body_shards):
    first = varied[SampleKey(3, 2)]
    varied[SampleKey(4, 7)]
    assert_equal(first, varied[SampleKey(3, 2)])
    fresh = TrainingSamples(ShardCollection(body_shards()), AugmentationSettings())
    assert_equal(first, fresh[SampleKey(3, 2)])
    other = varied[SampleKey(4, 2)]
    assert other.seed != first.seed == sample_seed(66, 3, first.sample_id)
    assert (other.box_px != first.box_px).all()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_what_one_process_reads(start, varied):
    varied[0]  # a handle is open in the parent when workers start
    sampler = EpochSampler(len(varied), seed=1)
    loader = DataLoader(
        varied,
        batch_size=3,
        sampler=sampler,
        collate_fn=collate,
        num_workers=2,
        multiprocessing_context=multiprocessing.get_context(start),
    )
    alone = DataLoader(varied, batch_size=3, sampler=sampler, collate_fn=collate)
    for found, expected in zip(loader, alone, strict=True):
        assert found.sample_ids == expected.sample_ids
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.scene.points_camera, expected.scene.points_camera)
        assert found.seeds == expected.seeds


def test_a_batch_holds_its_samples_side_by_side(samples):
    batch = collate([samples[row] for row in (6, 1, 3)])
    assert len(batch) == 3
    torch.testing.assert_close(batch.images[1], normalise(samples[1].image))
    for row, index in enumerate((6, 1, 3)):
        own = batch.scene.points_camera[batch.scene.batch == row]
        np.testing.assert_array_equal(own, samples[index].scene_points_camera)
        np.testing.assert_array_equal(batch.body.body_pose[row], samples[index].body_pose)
    assert batch.body.genders == ("male", "female", "female")
    assert batch.images.is_contiguous()
    assert len(batch.to("cpu")) == 3


def test_a_sample_that_sees_no_scene_has_no_points(samples):
    empty = replace(samples[0], scene_points_camera=np.zeros((0, 3), np.float32))
    batch = collate([empty, samples[1]])
    assert set(batch.scene.batch.tolist()) == {1}


@pytest.mark.parametrize(
    "picture", [np.zeros((200, 200, 3), np.uint8), np.zeros((225, 225, 3), np.uint8), None]
)
def test_a_crop_that_is_no_picture_is_refused_by_name(picture):
    jpeg = np.full(50, 7, np.uint8) if picture is None else cv2.imencode(".jpg", picture)[1].ravel()
    with pytest.raises(DataInvalid, match=r"no picture of the right size[\s\S]*rec/7"):
        decode_crop(jpeg, "rec/7")


def test_normalising_a_batch_equals_normalising_each():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    expected = torch.stack([normalise(image) for image in images])
    torch.testing.assert_close(normalise_batch(torch.from_numpy(images)), expected)
