"""Pickles as data only: plain containers, NumPy arrays and SciPy sparse matrices, nothing else.

A pickle is a program; PROXD fits, MoSH fits and body-model files are pickles made by others. Here no
name in a file ever reaches a real class or function: each admitted name is answered by an inert
record of this module, and arrays are built from those records afterwards, by our own code. Any other
name is refused, naming the file and the name.
"""

from __future__ import annotations

import io
import pickle  # only for the opcode machine; see `_Reader.find_class`
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse

from pipelines.errors import DataInvalid, DataMissing

Encoding = Literal["latin1", "ASCII", "bytes"]

_SPARSE_FORMATS = ("csr", "csc", "coo")
_MAX_DEPTH = 200


def load_pickle(path: Path, encoding: Encoding = "latin1") -> Any:
    """Read a pickle that holds only plain containers, NumPy arrays and SciPy sparse matrices.

    Args:
        path: the file.
        encoding: how byte strings written by Python 2 are read; `latin1` also serves Python 3 files.

    Raises:
        DataMissing: no such file.
        DataInvalid: the file names anything else (code, other libraries), or is not a whole pickle.
    """
    if not path.is_file():
        raise DataMissing("pickle not found", where=path)
    return loads(path.read_bytes(), source=path, encoding=encoding)


def loads(content: bytes, *, source: object, encoding: Encoding = "latin1") -> Any:
    """`load_pickle` for bytes; `source` is named in errors."""
    return _read(io.BytesIO(content), source, encoding)


def load_npz_objects(path: Path, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Read arrays of an npz, object arrays included, with the same restriction.

    A 0-d object array gives the object itself (SMPL-X `joint2num` gives a dict). Only the members
    asked for are read, so a file may hold others that would be refused.

    Args:
        path: the npz file.
        keys: names to read; all when None.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent, the file is damaged, or a member holds more than data.
    """
    if not path.is_file():
        raise DataMissing("npz not found", where=path)
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy"): name for name in archive.namelist()}
            wanted = list(present) if keys is None else list(keys)
            absent = [name for name in wanted if name not in present]
            if absent:
                raise DataInvalid(
                    "npz lacks keys", where=path, expected=", ".join(absent), found=", ".join(present)
                )
            return {name: _read_member(archive, present[name], f"{path}[{name}]") for name in wanted}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise DataInvalid(f"npz cannot be read: {error}", where=path) from None


def _read_member(archive: zipfile.ZipFile, member: str, source: str) -> Any:
    content = archive.read(member)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        _, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        _, _, dtype = np.lib.format.read_array_header_2_0(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(content), allow_pickle=False)
    array = _read(stream, source, "latin1")
    return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array


def _read(stream: io.BytesIO, source: object, encoding: Encoding) -> Any:
    reader = _Reader(stream, encoding=encoding)
    reader.source = source
    try:
        return _plain(reader.load(), {}, 0)
    except DataInvalid:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise DataInvalid(
            f"pickle cannot be read: {type(error).__name__}: {error}",
            where=source,
            fix="the file is damaged or not a pickle; get it again",
        ) from None


class _DtypeRecord:
    """What a pickled dtype said: its code and its byte order."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = str(code)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields, *_ = state
        if subarray is not None or names or fields:
            raise ValueError("structured dtypes are not admitted")
        self.order = str(order)

    def dtype(self) -> np.dtype[Any]:
        dtype = np.dtype(self.code)
        if dtype.kind not in "biufcSUO":
            raise ValueError(f"dtype {self.code} is not admitted")
        if self.order == "<":
            return dtype.newbyteorder("<")
        return dtype.newbyteorder(">") if self.order == ">" else dtype


class _ArrayRecord:
    """What a pickled array said: shape, dtype, order and content."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state[-4:]  # an old version number may lead


class _SparseRecord:
    """What a pickled sparse matrix said: its attributes."""

    format = ""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = dict(state)


class _ArrayClass:
    """Stands for `numpy.ndarray` where a pickle names it."""

    def __init__(self) -> None:
        raise ValueError("an array is not made this way in any file we read")

    def __setstate__(self, state: object) -> None: ...


def _reconstruct(_subtype: object, _shape: object, _typecode: object) -> _ArrayRecord:
    return _ArrayRecord()


def _from_buffer(content: object, dtype: object, shape: object, order: str = "C") -> _ArrayRecord:
    record = _ArrayRecord()
    record.state = (shape, dtype, order == "F", content)
    return record


def _scalar(dtype: object, content: object) -> _ArrayRecord:
    record = _ArrayRecord()
    record.state = (None, dtype, False, content)
    return record


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in {"latin1", "latin-1"}:
        raise ValueError(f"text encoding {encoding!r} is not admitted")
    return text.encode("latin1")


def _bytes(content: bytes = b"") -> bytes:
    if not isinstance(content, bytes):  # bytes(10**12) would fill the memory
        raise TypeError("bytes are made of bytes only")
    return content


def _new_record(cls: object, _base: object = None, _state: object = None) -> _SparseRecord:
    if not (isinstance(cls, type) and issubclass(cls, _SparseRecord)):
        raise ValueError("only sparse matrices are objects in any file we read")
    return cls()


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
    table: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): _ArrayClass,
        ("numpy", "dtype"): _DtypeRecord,
        ("_codecs", "encode"): _encode,
        ("copyreg", "_reconstructor"): _new_record,
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "object"): object,
        ("builtins", "set"): set,
        ("builtins", "frozenset"): frozenset,
        ("builtins", "complex"): complex,
        ("builtins", "bytes"): _bytes,
        ("builtins", "bytearray"): _bytes,
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        table[f"{core}.multiarray", "scalar"] = _scalar
        table[f"{core}.numeric", "_frombuffer"] = _from_buffer
    for name in _SPARSE_FORMATS:
        # A fresh class, so that nothing a file does to it outlives the file.
        record = type(f"_{name.title()}Record", (_SparseRecord,), {"format": name})
        for module in (f"scipy.sparse.{name}", f"scipy.sparse._{name}"):
            table[module, f"{name}_matrix"] = record
            table[module, f"{name}_array"] = record
    return table


class _Reader(pickle._Unpickler):
    """Answers names from the table of admitted ones only; Python 2 names come mapped to Python 3.

    The machine written in Python, since the one in C reserves gigabytes when a damaged file asks it to
    remember something under a large number. Our files are few large arrays, so it is no slower.
    """

    source: object = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._table = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        answer = self._table.get((module, name))
        if answer is not None:
            return answer
        fix = "do not trust this file; get it from its original source"
        if module.split(".")[0] == "chumpy":
            fix = "use the npz release of this body model, which holds no chumpy objects"
        raise DataInvalid(
            "pickle holds more than data",
            where=self.source,
            expected="plain containers, NumPy arrays, SciPy csr/csc/coo matrices",
            found=f"{module}.{name}",
            fix=fix,
        )


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    """Records -> arrays, through all containers. Shared objects stay shared; cycles are refused."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict | list | tuple | set | frozenset | _ArrayRecord | _SparseRecord):
        known = seen.get(id(value))
        if known is None:
            known = seen[id(value)] = _convert(value, seen, depth + 1)
        return known
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | bytearray):
        return value
    raise ValueError(f"an unfinished {type(value).__name__.strip('_')}")


def _convert(value: Any, seen: dict[int, Any], depth: int) -> Any:
    if isinstance(value, _ArrayRecord):
        return _array(value, seen, depth)
    if isinstance(value, _SparseRecord):
        return _sparse(value, seen, depth)
    if isinstance(value, dict):
        return {_plain(k, seen, depth): _plain(v, seen, depth) for k, v in value.items()}
    children = [_plain(child, seen, depth) for child in value]
    return children if isinstance(value, list) else type(value)(children)


def _array(record: _ArrayRecord, seen: dict[int, Any], depth: int) -> Any:
    if not record.state:
        raise ValueError("an array without content")
    shape, dtype_record, fortran, content = record.state
    if not isinstance(dtype_record, _DtypeRecord):
        raise TypeError("an array without a dtype")
    dtype = dtype_record.dtype()
    if dtype.hasobject:
        if shape is None:
            raise ValueError("object scalars are not admitted")
        children = list(content)
        flat = np.empty(len(children), dtype=object)
        for index, child in enumerate(children):
            flat[index] = _plain(child, seen, depth)
        return flat.reshape(shape, order="F" if fortran else "C")
    raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
    flat = np.frombuffer(raw, dtype=dtype) if raw else np.zeros(0, dtype)
    if shape is None:
        return flat.reshape(())[()]
    native = flat.astype(dtype.newbyteorder("="), copy=True)  # frombuffer's result is read-only
    return native.reshape(shape, order="F" if fortran else "C")


def _sparse(record: _SparseRecord, seen: dict[int, Any], depth: int) -> Any:
    attributes = {name: _plain(v, seen, depth) for name, v in record.attributes.items()}
    rows, columns = attributes.get("_shape") or attributes["shape"]
    shape, data = (int(rows), int(columns)), attributes["data"]
    if record.format == "coo":
        coords = attributes.get("coords") or (attributes["row"], attributes["col"])
        return scipy.sparse.coo_matrix((data, coords), shape=shape)
    compressed: Any = scipy.sparse.csr_matrix if record.format == "csr" else scipy.sparse.csc_matrix
    matrix = compressed((data, attributes["indices"], attributes["indptr"]), shape=shape)
    matrix.check_format(full_check=True)  # indices out of bounds would read foreign memory
    return matrix
