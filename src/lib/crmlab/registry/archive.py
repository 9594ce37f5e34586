"""The skops file of a model: written so that equal models have equal bytes, read only where every part is known."""

import io
import json
from collections.abc import Iterator, Mapping
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from crmlab.schema import RunError

from .freezing import STAND_INS

__all__ = ["ALLOWED", "pack", "unpack"]

ALLOWED: Mapping[str, frozenset[str]] = {
    "JsonNode": frozenset({"builtins.str"}),
    "DictNode": frozenset({"builtins.dict", "sklearn.utils._bunch.Bunch"}),
    "ListNode": frozenset({"builtins.list"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "SetNode": frozenset({"builtins.set"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "BytesNode": frozenset({"builtins.bytes"}),
    "TypeNode": frozenset(
        {
            *("builtins.str", "builtins.int", "builtins.float", "builtins.bool", "builtins.NoneType"),
            *("numpy.float64", "numpy.float32", "numpy.int64", "numpy.int32", "numpy.uint8", "numpy.bool"),
        }
    ),
    "NdArrayNode": frozenset(
        {
            *("numpy.ndarray", "numpy.bool", "numpy.str_", "numpy.datetime64", "numpy.timedelta64"),
            *(f"numpy.{n}" for n in ("float64", "float32", "int64", "int32", "int16", "int8")),
            *(f"numpy.{n}" for n in ("uint64", "uint32", "uint16", "uint8")),
        }
    ),
    "DTypeNode": frozenset({"numpy.dtype", *(f"numpy.dtypes.{n}DType" for n in ("Float64", "Float32", "Int64"))}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "LossNode": frozenset({"sklearn._loss._loss.CyHalfBinomialLoss", "_loss.CyHalfBinomialLoss"}),
    "ObjectNode": frozenset(
        {
            "sklearn.compose._column_transformer.ColumnTransformer",
            "sklearn.compose._column_transformer._RemainderColsList",
            "sklearn.dummy.DummyClassifier",
            "sklearn.ensemble._forest.ExtraTreesClassifier",
            "sklearn.ensemble._forest.RandomForestClassifier",
            "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
            "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
            "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
            "sklearn._loss.link.Interval",
            "sklearn._loss.link.LogitLink",
            "sklearn._loss.loss.HalfBinomialLoss",
            "sklearn.impute._base.MissingIndicator",
            "sklearn.impute._base.SimpleImputer",
            "sklearn.isotonic.IsotonicRegression",
            "sklearn.linear_model._logistic.LogisticRegression",
            "sklearn.pipeline.FeatureUnion",
            "sklearn.pipeline.Pipeline",
            "sklearn.preprocessing._data.QuantileTransformer",
            "sklearn.preprocessing._data.RobustScaler",
            "sklearn.preprocessing._data.StandardScaler",
            "sklearn.preprocessing._discretization.KBinsDiscretizer",
            "sklearn.preprocessing._encoders.OneHotEncoder",
            "sklearn.preprocessing._encoders.OrdinalEncoder",
            "sklearn.preprocessing._function_transformer.FunctionTransformer",
            "sklearn.preprocessing._label.LabelEncoder",
            "sklearn.preprocessing._polynomial.SplineTransformer",
            "sklearn.tree._classes.DecisionTreeClassifier",
            "sklearn.tree._classes.ExtraTreeClassifier",
            *(f"{c.__module__}.{c.__qualname__}" for c in STAND_INS),
        }
    ),
}
"""Kind of node → classes that it may make. Nodes that call functions or methods are not among them."""

_OLD = (1980, 1, 1, 0, 0, 0)
_MOST_BYTES = 4_000_000_000
"""Unpacked size beyond which a file is refused: no model of ours comes near it."""


def pack(frozen: object) -> bytes:
    """Return the skops file of a frozen model; equal models give equal bytes.

    Raises
    ------
    RunError : it holds something outside the allow-list.
    """
    from skops.io import dumps
    from skops.io.exceptions import UnsupportedTypeException

    try:
        data = dumps(frozen)
    except (UnsupportedTypeException, TypeError) as error:
        raise RunError("A model holds something that cannot be stored without pickle.", found=str(error)) from error
    with ZipFile(io.BytesIO(data)) as archive:
        schema, names = _renumbered(json.loads(archive.read("schema.json")))
        _check_nodes(schema, "A model holds a part that may not be stored.", remedy="see `ALLOWED` in this module.")
        members = {new: archive.read(old) for old, new in names.items()}
    return _zipped({"schema.json": json.dumps(schema, separators=(",", ":")).encode(), **members})


def unpack(data: bytes) -> object:
    """Return the frozen model of a skops file, after a look at every node of it; nothing in the file is run.

    Raises
    ------
    RunError : it is no skops file, or names a class or function outside the allow-list.
    """
    from skops.io import loads

    try:
        with ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
                raise RunError("A model file is too large to be one of crmlab's.")
            schema = json.loads(archive.read("schema.json"))
        _check_nodes(
            schema,
            "A model file holds a part that crmlab never stores; nothing of it was run.",
            remedy="do not use this file; train and publish again, and find out who changed it.",
        )
        return loads(data, trusted=sorted(set().union(*ALLOWED.values())))
    except (BadZipFile, KeyError, ValueError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise RunError(
            "A model file cannot be read.",
            found=f"{type(error).__name__}: {str(error)[:200]}",
            remedy="restore the file from a copy, or train and publish again; it may be of other library versions.",
        ) from error


def _check_nodes(schema: object, problem: str, *, remedy: str) -> None:
    """Refuse every node that is not of a known kind for a known class."""
    for node in _nodes(schema):
        kind, made = node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"
        if made not in ALLOWED.get(str(kind), ()):
            raise RunError(problem, found=f"{kind} of {made}"[:200], remedy=remedy)


def _nodes(schema: object) -> Iterator[dict]:
    stack = [schema]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "__loader__" in value or "__class__" in value or "__module__" in value:
                yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _renumbered(schema: dict) -> tuple[dict, dict[str, str]]:
    """Addresses in memory, which skops uses as names, become numbers in the order of the file."""
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}

    def copy(value: object) -> object:
        if isinstance(value, list):
            return [copy(v) for v in value]
        if not isinstance(value, dict):
            return value
        fresh = {k: copy(v) for k, v in value.items()}
        if "__loader__" in value and "__id__" in value:
            fresh["__id__"] = numbers.setdefault(value["__id__"], len(numbers) + 1)
        if "__loader__" in value and isinstance(value.get("file"), str):
            old = value["file"]
            fresh["file"] = names.setdefault(old, f"{len(names)}{old[old.rfind('.') :] if '.' in old else ''}")
        return fresh

    return copy(schema), names


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED, compresslevel=3) as archive:
        for name, data in members.items():
            info = ZipInfo(name, date_time=_OLD)
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()
