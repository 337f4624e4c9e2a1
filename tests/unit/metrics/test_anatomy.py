import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.errors import DataInvalid
from pipelines.metrics.anatomy import load_anatomy


def test_the_standin_has_both_hands_and_a_head_apart():
    anatomy = load_anatomy(resolve_body_files(None))
    assert anatomy.source == "stand-in bodies"
    assert not (anatomy.hand_vertices & anatomy.head_vertices).any()
    assert 300 < anatomy.hand_vertices.sum() < 3000
    assert 300 < anatomy.head_vertices.sum() < 3000
    np.testing.assert_allclose(anatomy.h36m_regressor.sum(axis=1), 1, atol=1e-5)


def test_a_regressor_of_another_shape_is_refused(tmp_path):
    np.save(tmp_path / "J_regressor_h36m.npy", np.zeros((14, 6890)))
    with pytest.raises(DataInvalid, match=r"\(17, 6890\)[\s\S]*\(14, 6890\)"):
        load_anatomy(BodyFiles(tmp_path, is_standin=False))
