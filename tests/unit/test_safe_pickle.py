from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import resource
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.errors import DataInvalid, DataMissing
from pipelines.safe_pickle import load_npz_objects, load_pickle, loads

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
DTYPES = ["f4", "f8", ">f4", "i4", "i8", "u1", "?", "c8", "U3", "S2", "f2"]


def read(value: Any, protocol: int = 2) -> Any:
    return loads(pickle.dumps(value, protocol), source="x.pkl")


class Calls:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_plain_dtype_come_back(protocol, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for variant in (array, np.asfortranarray(array), array[:, ::2], array[:0], np.array(array[1, 2])):
        back = read({"a": variant}, protocol)["a"]
        assert back.shape == variant.shape
        assert back.dtype == variant.dtype.newbyteorder("=")
        np.testing.assert_array_equal(back, variant)


@given(arrays(np.float32, array_shapes(min_dims=0, max_dims=4, min_side=0)), st.sampled_from(PROTOCOLS))
def test_any_float_array_comes_back_bit_by_bit(array, protocol):
    assert read(array, protocol).tobytes() == array.tobytes()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=15,
    ),
    st.sampled_from(PROTOCOLS),
)
def test_any_plain_value_comes_back(value, protocol):
    assert read(value, protocol) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array])
def test_sparse_matrices_come_back(protocol, make):
    dense = np.array([[0, 1.5, 0], [2, 0, -1]])
    back = read({"mtx": make(dense)}, protocol)["mtx"]
    assert sp.issparse(back)
    np.testing.assert_array_equal(back.toarray(), dense)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sets_scalars_and_ordered_dicts(protocol):
    value = {"s": {1, 2}, "f": frozenset("a"), "n": np.float32(1.5), "c": 1 + 2j, "o": OrderedDict(a=1)}
    assert read(value, protocol) == value
    assert isinstance(read(value, protocol)["n"], np.float32)


def test_arrays_can_be_written_to():
    read(np.zeros(3))[0] = 1


def test_object_arrays_hold_data_of_any_kind():
    array = np.array([np.eye(2), "x", None, [np.arange(3)]], dtype=object)
    back = read(array)
    np.testing.assert_array_equal(back[0], np.eye(2))
    np.testing.assert_array_equal(back[3][0], [0, 1, 2])
    assert back[1:3].tolist() == ["x", None]


def test_python_2_strings_are_read_as_latin1():
    python_2 = b"(dp0\nS'betas'\np1\nS'caf\\xe9'\np2\ns."
    assert loads(python_2, source="mosh.pkl") == {"betas": "café"}


def test_a_python_2_array_is_read():
    """As Python 2.7 writes it: the array's bytes are a byte string, NumPy's module has its old name."""
    python_2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85U\x01b\x87Rq\x02"
        b"(K\x01K\x02\x85cnumpy\ndtype\nq\x03U\x02f4K\x00K\x01\x87Rq\x04(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0tb."
    )
    np.testing.assert_array_equal(loads(python_2, source="mosh.pkl"), np.array([1, -2], np.float32))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {canary}",)),
        (eval, ("open('{canary}', 'w')",)),
        (getattr, (b"", "join")),
        (np.load, ("{canary}",)),
        (np.memmap, ("{canary}",)),
        (Path, ("{canary}",)),
        (__import__, ("os",)),
    ],
)
def test_code_is_refused_by_name_and_not_run(tmp_path, protocol, function, arguments):
    canary = tmp_path / "canary"
    call = Calls(
        function, *(a.format(canary=canary) if isinstance(a, str) else a for a in arguments[:1])
    )
    path = tmp_path / "000.pkl"
    path.write_bytes(pickle.dumps({"betas": call}, protocol))
    with pytest.raises(DataInvalid) as error:
        load_pickle(path)
    assert not canary.exists()
    assert str(path) in str(error.value)
    assert function.__name__ in str(error.value)
    assert "more than data" in str(error.value)


def test_chumpy_is_refused_with_advice():
    with pytest.raises(DataInvalid, match=r"chumpy\.ch\.Ch[\s\S]*npz release"):
        loads(b"\x80\x02cchumpy.ch\nCh\n.", source="SMPL.pkl")


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cnumpy\nndarray\n.",  # a class as the result
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # a new array without content
        b"\x80\x02cnumpy\ndtype\n}b.",  # a state given to a class
        b"\x80\x02cscipy.sparse.csr\ncsr_matrix\n}X\x03\x00\x00\x00barK\x01sb.",
        b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
        b"\x80\x02cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",  # two gigabytes of zeros
        b"\x80\x02cbuiltins\nobject\n)\x81.",
        b"\x80\x02Pid\n.",  # a persistent id
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
    ],
)
def test_misuse_of_admitted_names_is_refused(program):
    pickletools.dis(program, out=io.StringIO())  # well formed, so not refused for the wrong reason
    with pytest.raises(DataInvalid):
        loads(program, source="x.pkl")


def test_misuse_does_not_poison_the_next_file():
    attack = (
        b"\x80\x02cscipy.sparse.csr\ncsr_matrix\nN}X\x06\x00\x00\x00formatX\x03\x00\x00\x00coos\x86b."
    )
    with pytest.raises(DataInvalid):
        loads(attack, source="x.pkl")
    matrix = sp.csr_matrix(np.eye(2))
    np.testing.assert_array_equal(read(matrix).toarray(), np.eye(2))


@pytest.mark.parametrize("field", ["indices", "indptr", "_shape"])
def test_sparse_indices_out_of_bounds_are_refused(field):
    matrix = sp.csr_matrix(np.eye(3))
    value = {"indices": np.array([0, 1, 999], np.int32), "indptr": np.array([0, 1, 2, 99], np.int32),
             "_shape": (2, 1)}[field]  # fmt: skip
    vars(matrix)[field] = value
    with pytest.raises(DataInvalid):
        read(matrix)


def test_arrays_whose_bytes_do_not_fill_their_shape_are_refused():
    content = pickle.dumps(np.zeros(4, np.float32), 2)
    assert content.count(b"K\x04\x85") == 1
    with pytest.raises(DataInvalid, match="cannot reshape"):
        loads(content.replace(b"K\x04\x85", b"K\x05\x85"), source="x.pkl")


def test_structured_and_time_dtypes_are_refused():
    for array in (np.zeros(2, dtype=[("a", "f4")]), np.zeros(2, "M8[s]")):
        with pytest.raises(DataInvalid, match="not admitted"):
            read(array)


def test_a_large_memo_number_costs_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert loads(b"\x80\x02K\x07r\xf0\xff\xff\x7f.", source="x.pkl") == 7
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_damaged_pickle_never_does_anything_else_than_refuse(position, byte):
    content = bytearray(pickle.dumps({"betas": np.zeros((1, 3), np.float32), "m": sp.eye(2).tocsr()}, 2))
    content[position % len(content)] = byte
    with contextlib.suppress(DataInvalid):
        loads(bytes(content), source="x.pkl")


@pytest.mark.parametrize("content", [b"", b"\x80", b"not a pickle", pickle.dumps(np.zeros(9), 2)[:-10]])
def test_files_that_are_no_whole_pickle_are_refused(tmp_path, content):
    path = tmp_path / "000.pkl"
    path.write_bytes(content)
    with pytest.raises(DataInvalid, match=r"000\.pkl"):
        load_pickle(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(DataMissing, match="absent"):
        load_pickle(tmp_path / "absent.pkl")
    with pytest.raises(DataMissing, match="absent"):
        load_npz_objects(tmp_path / "absent.npz")


def test_shared_arrays_stay_shared():
    array = np.zeros(3)
    back = read([array, array])
    assert back[0] is back[1]


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """Like mesh_downsampling.npz: object arrays of matrices beside objects of another library."""
    levels = np.empty(2, dtype=object)
    levels[:] = [sp.csr_matrix(np.eye(3)), sp.coo_matrix(np.eye(2))]
    foreign = np.array([Calls(print, "no")], dtype=object)
    names = np.array({"pelvis": 0}, dtype=object)
    path = tmp_path / "mesh_downsampling.npz"
    np.savez(path, A=levels, M=foreign, joint2num=names, v=np.eye(2, dtype=np.float32))
    return path


def test_only_the_members_asked_for_are_opened(pyramid):
    found = load_npz_objects(pyramid, ["A", "joint2num", "v"])
    np.testing.assert_array_equal(found["A"][0].toarray(), np.eye(3))
    np.testing.assert_array_equal(found["A"][1].toarray(), np.eye(2))
    assert found["joint2num"] == {"pelvis": 0}
    np.testing.assert_array_equal(found["v"], np.eye(2))


def test_a_foreign_member_is_refused_by_name(pyramid):
    with pytest.raises(DataInvalid, match=r"mesh_downsampling\.npz\[M\][\s\S]*builtins.print"):
        load_npz_objects(pyramid)


def test_absent_keys_are_listed(pyramid):
    with pytest.raises(DataInvalid, match=r"expected: D, U[\s\S]*found: A, M"):
        load_npz_objects(pyramid, ["A", "D", "U"])


@pytest.mark.parametrize("keep", [0, 30, 300])
def test_a_truncated_npz_is_refused(pyramid, keep):
    pyramid.write_bytes(pyramid.read_bytes()[:keep])
    with pytest.raises(DataInvalid, match="mesh_downsampling"):
        load_npz_objects(pyramid)
