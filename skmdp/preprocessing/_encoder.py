"""Raw measurements to states: one transformer for the states and the states that follow."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone, is_clusterer
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skmdp._log.frames import Table, as_frame, as_table, convert_table, is_one_dimensional
from skmdp._messages import quoted, shortened, shown
from skmdp._pipelines import last_step
from skmdp._typing import Array
from skmdp.preprocessing._bins import (
    affordable_states,
    bins_per_column,
    cut_ends,
    require_numbers,
    shift_bins,
    warn_of_single_rows,
)
from skmdp.preprocessing._measured import Measured

# Parameters of transformers that say into how many parts they divide what they see.
SIZES = ("n_clusters", "n_bins", "max_leaf_nodes")


# scikit-learn has no types, so mypy does not know the keyword. None: its own wrapper would rename a
# table's columns by those of the table in fit.
class StateEncoder(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn measurements into states, the same way before and after each transition.

    Fits one transformer or clusterer on the state columns of a log and the next-state columns
    together, and replaces both by what it makes of them. All other columns stay as they are, so a
    ``MarkovPolicyEstimator`` may follow in a pipeline; ``predict`` then needs the state columns
    only.

    Parameters
    ----------
    transformer : transformer or clusterer, default=None
        What makes states of measurements: ``KBinsDiscretizer(encode="ordinal")``, ``KMeans``,
        ``OrdinalEncoder``, a pipeline of several, ... It is cloned. None: bins of equal width in
        each column, with the ends cut at the 1 % and the 99 % quantile. Bins can be read and
        suit up to three columns; from four columns on,
        ``make_pipeline(StandardScaler(), KMeans())`` makes better use of as many states.
    state : str or sequence of str, default=None
        Column(s) of the table that make up the state. None: every column is a feature of the
        state, and arrays go in and come out as with any transformer.
    next_state : str or sequence of str, default=None
        Column(s) of the next state, one for each state column. None takes the columns
        ``"next_" + c`` if the table has them.
    action : str, default="action"
        Column of the logged action, read only to choose the number of states.
    n_states : int or "auto", default=None
        How many states to make, at most, where the transformer has a size to set (``n_clusters``,
        ``n_bins`` or ``max_leaf_nodes``, of a pipeline's last step). ``"auto"``: ten rows for each
        action in each state, between 25 and 1000 states: ``clip(n_transitions // (10 n_actions),
        25, 1000)``. None leaves the transformer's size alone; with ``transformer=None``, a table
        gets ``"auto"`` and an array five bins a column.
    method : {"auto", "transform", "predict", "apply"}, default="auto"
        Method of the transformer that gives the states. ``"auto"``: ``predict`` of clusterers and
        of what cannot transform, else ``transform``. ``"apply"`` gives the leaves of a tree.
    fit_on : {"both", "state"}, default="both"
        Whether the transformer is fitted on states and next states together, or on states only.
    shift_bins : bool, default=False
        Whether to move the borders between bins, in each column by a random part of a bin. With
        ``PolicyBagging``, whose members then see borders in different places.
    random_state : int, RandomState instance or None, default=None
        Seed of ``shift_bins``.

    Attributes
    ----------
    transformer_ : estimator
        The fitted transformer.
    n_features_in_ : int
        Number of state columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the state columns, where they have names.

    See Also
    --------
    skmdp.ensemble.PolicyBagging : Averages over encoders, which often pays more than a better one.
    skmdp.inspection.markov_test : Whether the states tell all that the measurements tell.

    Notes
    -----
    The cost is that of the transformer on the rows of states and next states. What columns to
    encode matters more than how: a column that decides nothing still multiplies the states.
    Between more and fewer states, choose by cross-validation with
    :func:`skmdp.model_selection.fewest_states`; a policy on encoded states should have
    ``min_count=5`` or so and ``prior_strength="auto"``. Where more than five or six columns all
    matter and there are less than some 50,000 rows, a tabular method is the wrong tool.

    Next states are encoded where at least one of their columns is there, and stay missing where
    all are missing: there the episode ended.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.preprocessing import KBinsDiscretizer
    >>> from skmdp.preprocessing import StateEncoder
    >>> log = pd.DataFrame({"wear": [0.1, 0.6, 0.2, 0.7], "action": ["run", "fix", "run", "run"],
    ...                     "next_wear": [0.6, 0.2, 0.7, None], "reward": [1, -2, 1, -9]})
    >>> halves = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")
    >>> encoder = StateEncoder(halves, state="wear").fit(log)
    >>> encoder.transform(log)
       wear action  reward  next_wear
    0     0    run       1        1.0
    1     1    fix      -2        0.0
    2     0    run       1        1.0
    3     1    run      -9        NaN
    >>> encoder.transform(log[["wear"]])["wear"].tolist()  # as predict does
    [0, 1, 0, 1]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "transformer": [HasMethods("fit"), None],
        "state": [str, list, tuple, None],
        "next_state": [str, list, tuple, None],
        "action": [str],
        "n_states": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "method": [StrOptions({"auto", "transform", "predict", "apply"})],
        "fit_on": [StrOptions({"both", "state"})],
        "shift_bins": ["boolean"],
        "random_state": ["random_state"],
    }

    n_features_in_: int

    def __init__(
        self,
        transformer: Any = None,
        *,
        state: str | Sequence[str] | None = None,
        next_state: str | Sequence[str] | None = None,
        action: str = "action",
        n_states: int | Literal["auto"] | None = None,
        method: Literal["auto", "transform", "predict", "apply"] = "auto",
        fit_on: Literal["both", "state"] = "both",
        shift_bins: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.transformer = transformer
        self.state = state
        self.next_state = next_state
        self.action = action
        self.n_states = n_states
        self.method = method
        self.fit_on = fit_on
        self.shift_bins = shift_bins
        self.random_state = random_state

    # ----------------------------------------------------------------------------------- learning

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the transformer on the states of a log.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_samples, n_features)
            With ``state``: a table (pandas, polars or pyarrow) with the state columns, and the
            next-state columns if the log has them. Without: an array or table whose columns are
            all features of the state.
        y : array-like of shape (n_samples,), default=None
            Handed to the transformer where it is fitted on states only. Without ``state`` its
            distinct values count as the actions.

        Returns
        -------
        self : StateEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If a column is missing from the table, a column holds NaN that the transformer does not
            take, the transformer answers a sparse matrix or another number of rows, or bins in so
            many columns are more than ``n_states``.

        Warns
        -----
        UserWarning
            If more than 10 % of the states of a table hold a single row.

        Examples
        --------
        Seven measurements in two bins each are more states than 30 rows support:

        >>> import numpy as np, pandas as pd
        >>> from skmdp.preprocessing import StateEncoder
        >>> log = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 7)), columns=[*"abcdefg"])
        >>> StateEncoder(state=[*"abcdefg"]).fit(log.assign(action=0))
        Traceback (most recent call last):
        ...
        ValueError: 7 columns in two bins each make 128 states, more than the 25 of n_states...
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit the transformer, and encode the log that it is fitted on.

        Parameters
        ----------
        X : table of shape (n_transitions, n_columns), or (n_samples, n_features)
            As in ``fit``.
        y : array-like of shape (n_samples,), default=None
            As in ``fit``.

        Returns
        -------
        encoded : table or array
            As of ``transform``.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.cluster import KMeans
        >>> from skmdp.preprocessing import StateEncoder
        >>> log = pd.DataFrame({"x": [0.0, 0.1, 5.0, 5.2], "v": [1.0, 0.9, 7.0, 7.0],
        ...                     "action": [0, 1, 0, 1]})
        >>> encoder = StateEncoder(KMeans(2, random_state=0), state=["x", "v"])
        >>> states = encoder.fit_transform(log)
        >>> states.columns.tolist(), bool(states["state"][0] == states["state"][1])
        (['state', 'action'], True)
        """
        encoded, present = self._fit(X, y)
        return self._output(X, encoded, present)

    @_fit_context(prefer_skip_nested_validation=False)
    def _fit(self, X: Any, y: Any) -> tuple[Array, Measured | None]:
        """Fit; return what is encoded, and the table's measurements it is made of, if a table."""
        if self.state is None:
            X = self._check_array(X, reset=True)
            transformer = self._sized(y, "y", len(X), self.n_features_in_, self.n_states)
            self._fit_bins(transformer, X, y)
            self._table_columns, self.transformer_ = None, transformer
            return _encode(transformer, self._method_of(transformer), X), None
        names = _as_tuple(self.state)
        frame = as_table(X, f"{type(self).__name__}(state=...) is fitted on a table")
        if not len(frame):
            raise ValueError("The table is empty: it has 0 rows, so there are no states to fit on.")
        measured = self._measure(frame, must_have_next=self.next_state is not None)
        n_states = self.n_states
        if n_states is None and self.transformer is None:
            n_states = "auto"
        if self.transformer is None:
            require_numbers(measured.states)
        actions = frame.column(self.action) if self.action in frame.columns else None
        transformer = self._sized(actions, self.action, len(frame), len(names), n_states)
        on_states = measured.nexts is None or self.fit_on == "state"
        with measured.naming_what_is_missing(transformer):
            self._fit_bins(
                transformer,
                measured.states if on_states else measured.rows,
                y if on_states else None,
            )
            encoded = _encode(transformer, self._method_of(transformer), measured.rows)
        warn_of_single_rows(encoded[: len(frame)])
        self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = len(names)
        self._table_columns = frame.columns
        self._is_whole = np.array([_is_whole(column) for column in encoded.T], dtype=bool)
        self.transformer_ = transformer
        return encoded, measured

    def _fit_bins(self, transformer: Any, rows: Any, y: Any) -> None:
        """Fit the transformer; cut the ends of the default bins, and shift bins if asked for."""
        transformer.fit(rows, y)
        if self.transformer is None:
            cut_ends(transformer, np.asarray(rows, dtype=np.float64))
        if self.shift_bins:
            shift_bins(last_step(transformer)[0], check_random_state(self.random_state))

    def _sized(self, actions: Any, action: str, n_rows: int, n_columns: int, n_states: Any) -> Any:
        """Return a clone of the transformer, with its size set by n_states unless that is None."""
        if self.transformer is None:
            # Of many rows it would draw some, so that no two fits were the same.
            transformer = KBinsDiscretizer(encode="ordinal", strategy="uniform", subsample=None)
        else:
            transformer = clone(self.transformer)
        if n_states is None:
            return transformer
        if n_states == "auto":
            n_states = affordable_states(actions, action)
        last, prefix = last_step(transformer)
        size = next((name for name in SIZES if name in last.get_params()), None)
        if size is None:
            raise ValueError(
                f"n_states has nothing to set: {shortened(last)} has no parameter "
                f"{', '.join(SIZES[:-1])} or {SIZES[-1]}. Set its size itself, and leave n_states "
                "at None."
            )
        if size == "n_bins":
            n_states = bins_per_column(n_states, n_columns)
        elif size == "n_clusters":
            n_states = min(n_states, n_rows)
        return transformer.set_params(**{prefix + size: n_states})

    def _method_of(self, transformer: Any) -> str:
        method: str = self.method
        if method == "auto":
            predicts = is_clusterer(transformer) or not hasattr(transformer, "transform")
            method = "predict" if predicts else "transform"
        if not hasattr(transformer, method):
            raise ValueError(
                f"{shortened(transformer)} has no method {method!r}, so it cannot tell the state "
                "of new rows. Choose another method=, or a transformer such as KMeans."
            )
        return method

    # ---------------------------------------------------------------------------------- encoding

    def transform(self, X: Any) -> Any:
        """Encode the states of a log, or of states alone.

        Parameters
        ----------
        X : table of shape (n_samples, n_columns), or array of shape (n_samples, n_features_in_)
            After a fit on a table: a table with the state columns, and with all of the next-state
            columns or none; or an array of the state columns (1-D where that is one).

        Returns
        -------
        encoded : table or array
            A table for a table, of the same library unless ``set_output`` says another, pandas
            with its index: the encoded state columns first, then all other columns as they were,
            then the encoded next-state columns. Clusters and leaves are one column ``"state"``,
            and one ``"next_state"``; a transformer that keeps the number of columns keeps their
            names, any other names them, with ``"next_"`` before the names of next states. Whole
            numbers are integers. An array for an array.

        Raises
        ------
        ValueError
            If a state column is missing or holds NaN that the transformer does not take.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.preprocessing import OrdinalEncoder
        >>> from skmdp.preprocessing import StateEncoder
        >>> log = pd.DataFrame({"stage": ["I", "II", "I", "II"], "dose": [1, 1, 2, 2],
        ...                     "next_stage": ["II", "III", "II", None]})
        >>> encoder = StateEncoder(OrdinalEncoder(), state="stage").fit(log)
        >>> encoder.transform(log).iloc[0].tolist()
        [0.0, 1.0, 1.0]
        >>> encoder.transform([["III"], ["I"]])
        array([[2],
               [0]])
        """
        check_is_fitted(self)
        if self._table_columns is None:
            rows = self._check_array(X, reset=False)
            return self._output(X, self._encode_rows(rows), None)
        frame = as_frame(X)
        if frame is None:
            encoded = self._encode_rows(self._states_of_array(X))
            return np.column_stack(self._columns_of(encoded))
        measured = self._measure(frame)
        with measured.naming_what_is_missing(self.transformer_):
            encoded = self._encode_rows(measured.rows)
        return self._output(X, encoded, measured)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the columns of ``transform``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the state columns; only where these have none of their own.

        Returns
        -------
        names : ndarray of str
            Of an array, the encoded columns; of a table, all columns as of the table in ``fit``.

        Raises
        ------
        ValueError
            If ``input_features`` are not as many as the columns, or not those seen in fit.

        Examples
        --------
        >>> from skmdp.preprocessing import StateEncoder
        >>> StateEncoder().fit([[0.0, 1.0], [2.0, 3.0]]).get_feature_names_out(["wear", "heat"])
        array(['wear', 'heat'], dtype=object)
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        if input_features is None:
            default = [f"x{j}" for j in range(self.n_features_in_)]
            input_features = default if names is None else names
        elif len(input_features) != self.n_features_in_:
            raise ValueError(
                "input_features should have length equal to number of features "
                f"({self.n_features_in_}), got {len(input_features)}."
            )
        elif names is not None and list(names) != list(input_features):
            raise ValueError(
                f"input_features is not equal to feature_names_in_: {quoted(names)} were seen in "
                "fit."
            )
        encoded = self._encoded_names(tuple(input_features))
        if self._table_columns is None:
            return np.array(encoded, dtype=object)
        nexts = self._next_names(self._table_columns)
        kept = [
            name for name in self._table_columns if name not in {*input_features, *(nexts or ())}
        ]
        following = () if nexts is None else self._encoded_names(tuple(input_features), nexts)
        return np.array([*encoded, *kept, *following], dtype=object)

    def set_output(
        self, *, transform: Literal["default", "pandas", "polars"] | None = None
    ) -> Self:
        """Say what kind of table ``transform`` and ``fit_transform`` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            ``"default"``: of a table the same kind, of an array an array. None: as before.

        Returns
        -------
        self : StateEncoder
            The encoder.

        Examples
        --------
        >>> from skmdp.preprocessing import StateEncoder
        >>> encoder = StateEncoder().set_output(transform="pandas")
        >>> encoder.fit_transform([[0.0], [2.0]])["x0"].tolist()
        [0.0, 4.0]
        """
        if transform not in ("default", "pandas", "polars", None):
            raise ValueError(
                f"transform must be 'default', 'pandas', 'polars' or None, got {shown(transform)}."
            )
        if transform is not None:
            # The name under which clone looks for it.
            self._sklearn_output_config = {"transform": transform}
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.transformer is not None:  # what comes out is what it makes
            inner = get_tags(self.transformer).transformer_tags
            predicts = inner is None or is_clusterer(self.transformer)
            tags.transformer_tags.preserves_dtype = [] if predicts else inner.preserves_dtype
            tags.input_tags.allow_nan = get_tags(self.transformer).input_tags.allow_nan
        return tags

    def _check_array(self, X: Any, *, reset: bool) -> Any:
        """Check features without a table of their own; values are for the transformer to check."""
        if as_frame(X) is not None:
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)

    def _encode_rows(self, rows: Any) -> Array:
        return _encode(self.transformer_, self._method_of(self.transformer_), rows)

    def _states_of_array(self, X: Any) -> pd.DataFrame:
        """Name the columns of an array of states."""
        if self.n_features_in_ == 1 and is_one_dimensional(X):
            X = np.asarray(X).reshape(-1, 1)
        states = pd.DataFrame(X)
        if states.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {states.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        names = list(self.feature_names_in_)
        return Table(states.set_axis(names, axis=1).infer_objects()).features(names)

    def _next_names(
        self, columns: Sequence[str], *, must_have: bool = False
    ) -> tuple[str, ...] | None:
        """Return the names of the next-state columns of a table, None if it has none."""
        states = _as_tuple(self.state or ())
        if self.next_state is None:
            nexts = tuple(f"next_{name}" for name in states)
        else:
            nexts = _as_tuple(self.next_state)
        if len(nexts) != len(states):
            raise ValueError(
                f"next_state names {len(nexts)} column(s) and state {len(states)}; every state "
                "column needs its next-state column, in the same order."
            )
        absent = [name for name in nexts if name not in columns]
        if len(absent) == len(nexts) and not must_have:
            return None
        if absent:
            raise ValueError(
                f"The table has no column {quoted(absent)} for the next state. It has the "
                f"column(s) {quoted(columns)}. Add what is missing, or name the columns with "
                "next_state=..."
            )
        return nexts

    def _measure(self, frame: Table, *, must_have_next: bool = False) -> Measured:
        """Take the measurements of a table: states, and below them the next states it has."""
        names = _as_tuple(self.state or ())
        missing = [name for name in names if name not in frame.columns]
        if missing or not names:
            raise ValueError(
                f"The table has no column {quoted(missing)} for the state. It has the column(s) "
                f"{quoted(frame.columns)}. Name yours: StateEncoder(state=...)."
                if missing
                else "state names no column; a state needs at least one."
            )
        nexts = self._next_names(frame.columns, must_have=must_have_next)
        named = [*names, *(nexts or ())]
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise ValueError(f"Column {shown(twice[0])} is named twice for state and next_state.")
        states = frame.features(names)
        if nexts is None:
            return Measured(frame, states, states, names, None, np.zeros(len(frame), dtype=bool))
        following = frame.features(nexts).set_axis(list(names), axis=1)
        present = ~following.isna().to_numpy().all(axis=1)
        rows = states
        if present.any():
            rows = pd.concat([states, following[present]], ignore_index=True)
        return Measured(frame, rows, states, names, nexts, present)

    def _encoded_names(
        self, names: tuple[str, ...], nexts: tuple[str, ...] | None = None
    ) -> tuple[str, ...]:
        """Return the names of the encoded states, or, given theirs, of the next states."""
        if self._method_of(self.transformer_) != "transform":
            return ("state",) if nexts is None else ("next_state",)
        if not hasattr(self.transformer_, "get_feature_names_out"):
            return names if nexts is None else nexts
        made = tuple(self.transformer_.get_feature_names_out(np.array(names, dtype=object)))
        if nexts is None:
            return made
        return nexts if made == names else tuple(f"next_{name}" for name in made)

    def _columns_of(self, encoded: Array) -> list[Array]:
        """Return the columns of what is encoded, codes as integers."""
        return [
            column.astype(np.int64) if whole and _is_whole(column) else column
            for column, whole in zip(encoded.T, self._is_whole, strict=True)
        ]

    def _output(self, X: Any, encoded: Array, measured: Measured | None) -> Any:
        """Put what is encoded into the kind of table that X is, or that was asked for."""
        config = getattr(self, "_sklearn_output_config", {})
        wanted = config.get("transform", get_config()["transform_output"])
        if measured is None:
            if wanted == "default":
                return encoded
            made = self.get_feature_names_out()
            index = X.index if isinstance(X, pd.DataFrame) else None
            return convert_table(pd.DataFrame(encoded, columns=made, index=index), wanted)
        columns, n_rows = self._columns_of(encoded), len(measured.states)
        names, nexts = self._encoded_names(measured.names), measured.nexts
        dropped = (*measured.names, *(nexts or ()))
        before = {name: column[:n_rows] for name, column in zip(names, columns, strict=True)}
        after = {}
        if nexts is not None:
            following = self._encoded_names(measured.names, nexts)
            after = {name: column[n_rows:] for name, column in zip(following, columns, strict=True)}
        taken = {*before, *after} & (set(measured.frame.columns) - set(dropped))
        if taken:
            raise ValueError(
                f"The encoded states are to be called {quoted(sorted(taken))}, but the table has "
                "such a column beside the state columns. Rename it."
            )
        table = measured.frame.exchange(dropped, before, after, measured.present)
        return convert_table(table, wanted)


def _as_tuple(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _encode(transformer: Any, method: str, rows: Any) -> Array:
    """Return the states of some rows, (n, n_columns_out)."""
    encoded = getattr(transformer, method)(rows)
    if issparse(encoded):
        raise ValueError(
            f"{type(last_step(transformer)[0]).__name__} answers a sparse matrix; states need a "
            'few dense columns. Use encode="ordinal", sparse_output=False or the like.'
        )
    encoded = np.asarray(encoded)
    if encoded.ndim == 1:
        encoded = encoded[:, np.newaxis]
    if len(encoded) != len(rows):
        raise ValueError(
            f"{type(last_step(transformer)[0]).__name__} made {len(encoded)} rows of {len(rows)}; "
            "a state needs one row for each. Drop rows from the log before the pipeline."
        )
    return encoded


def _is_whole(column: Array) -> bool:
    """Whether a column holds whole numbers only, so that they may be codes."""
    if column.dtype.kind in "iu":
        return True
    return column.dtype.kind == "f" and bool((column == np.floor(column)).all())
