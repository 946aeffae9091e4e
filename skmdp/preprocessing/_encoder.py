"""Raw measurements to states: one transformer for the states and the states that follow."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, is_clusterer
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skmdp._log.frames import (
    Table,
    as_frame,
    as_table,
    convert_table,
    is_one_dimensional,
    refuse_one_row,
    without_mask,
)
from skmdp._log.reading import require_rows
from skmdp._log.roles import column_names, find_next_names
from skmdp._messages import quoted, shown
from skmdp._pipelines import last_step
from skmdp._typing import Array, Name, Names
from skmdp.preprocessing._bins import (
    affordable_states,
    fit_even_bins,
    shift_bins,
    sized,
    warn_of_single_rows,
)
from skmdp.preprocessing._described import Part, group_rows, require_summary, summarize
from skmdp.preprocessing._measured import Measured, handed_on_as, measure
from skmdp.preprocessing._states import (
    are_codes,
    encode,
    encoded_names,
    exchange,
    method_of,
    require_finite,
    state_columns,
)


# scikit-learn has no types, so mypy does not know the keyword. None: its own wrapper would rename a
# table's columns by those of the table in fit.
class StateEncoder(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turn measurements into states, the same way before and after each transition.

    Fits one transformer or clusterer on the state columns of a log and the next-state columns
    together, and replaces both by its output. All other columns stay as they are, so a
    ``MarkovPolicyEstimator`` may follow in a pipeline; ``predict`` then needs the state columns
    only.

    Parameters
    ----------
    transformer : transformer or clusterer, default=None
        The step that makes states of measurements: ``KBinsDiscretizer(encode="ordinal")``,
        ``KMeans``, ``OrdinalEncoder``, a pipeline, ... It is cloned. None: bins of equal width in
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
        of estimators that cannot transform, else ``transform``. ``"apply"`` gives the leaves of a
        tree.
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
    skmdp.ensemble.PolicyBagging : Averages policies over several encoders.
    skmdp.inspection.markov_test : Tests whether a measurement predicts more than the states do.

    Notes
    -----
    The cost is that of the transformer on the rows of states and next states. The choice of columns
    matters more than that of the transformer: a column that influences neither rewards nor next
    states still multiplies the states.
    Between more and fewer states, choose by cross-validation with
    :func:`skmdp.model_selection.most_trusted`; a policy on encoded states should have
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
    >>> encoder.transform(log)[["wear", "action", "reward", "next_wear"]]
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
        "state": [str, Integral, "array-like", None],
        "next_state": [str, Integral, "array-like", None],
        "action": [str, Integral],
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
        state: Name | Sequence[Name] | None = None,
        next_state: Name | Sequence[Name] | None = None,
        action: Name = "action",
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
        >>> states.columns[:1].tolist(), bool(states["state"][0] == states["state"][1])
        (['state'], True)
        """
        encoded, present = self._fit(X, y)
        return self._output(X, encoded, present)

    @_fit_context(prefer_skip_nested_validation=False)
    def _fit(self, X: Any, y: Any) -> tuple[Array, Measured | None]:
        """Fit; return the states, and of a table the measurements that they were made of."""
        if self.state is None:
            X = self._check_array(X, reset=True)
            transformer = self._sized(y, "y", len(X), self.n_features_in_, self.n_states)
            self._fit_transformer(transformer, X, y, self._feature_names())
            method = method_of(transformer, self.method)
            encoded = encode(transformer, method, X)
            names = tuple(self._feature_names())
            frame = as_frame(X)
            rows = pd.DataFrame(X, columns=names) if frame is None else frame.features(names)
            made = encoded_names(transformer, method, names)
            grouped = group_rows(made, list(encoded.T))
            self._summary = summarize(transformer, grouped, rows.infer_objects())
            self._table_columns, self.transformer_, self._method = None, transformer, method
            return encoded, None
        frame = as_table(X, f"{type(self).__name__}(state=...) is fitted on a table")
        require_rows(frame)
        state = column_names(self.state, "state")
        following = None if self.next_state is None else column_names(self.next_state, "next_state")
        measured = measure(frame, state, following, fitting=True)
        n_states = self.n_states
        if self.transformer is None:
            measured.require_numbers("bins need")
            n_states = "auto" if n_states is None else n_states
        actions = frame.column(self.action) if self.action in frame.columns else None
        names = measured.names
        transformer = self._sized(actions, self.action, len(frame), len(names), n_states)
        on_states = measured.nexts is None or self.fit_on == "state"
        with measured.naming_what_is_refused(transformer):
            rows = measured.states if on_states else measured.rows
            self._fit_transformer(transformer, rows, y if on_states else None, names)
            method = method_of(transformer, self.method)
            encoded = encode(transformer, method, measured.rows)
        require_finite(encoded, measured, transformer)
        codes = are_codes(encoded)
        made = encoded_names(transformer, method, names)
        grouped = group_rows(made, state_columns(encoded[: len(frame)], codes))
        warn_of_single_rows(grouped.n_rows)
        self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = len(names)
        self._table_columns, self._next_state = frame.columns, following
        self._are_codes = codes
        self._summary = summarize(transformer, grouped, measured.states)
        self.transformer_, self._method = transformer, method
        return encoded, measured

    def _sized(self, actions: Any, action: Name, n_rows: int, n_columns: int, n_states: Any) -> Any:
        """Return a clone of the transformer, with its size set by n_states unless that is None."""
        if n_states == "auto":
            n_states = affordable_states(actions, action)
        return sized(self.transformer, n_states, n_rows, n_columns)

    def _fit_transformer(self, transformer: Any, rows: Any, y: Any, names: Sequence[Any]) -> None:
        """Fit the transformer, and shift its bins if asked for."""
        if self.transformer is None:
            fit_even_bins(transformer, rows, names)
        else:
            transformer.fit(rows, y)
        if self.shift_bins:
            shift_bins(last_step(transformer)[0], check_random_state(self.random_state))

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
            numbers are integers. A log (a table that has the column ``action``) keeps what was
            measured under names that begin with ``"measured__"`` and ``"next_measured__"``, so that
            a policy on the states can be scored by what it does to the measurements. An array for
            an array.

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
        >>> encoder.transform(log)[["stage", "next_stage"]].iloc[0].tolist()
        [0.0, 1.0]
        >>> encoder.transform([["III"], ["I"]])
        array([[2],
               [0]])
        """
        check_is_fitted(self)
        if self._table_columns is None:
            rows = self._check_array(X, reset=False)
            return self._output(X, self._encode_rows(rows), None)
        refuse_one_row(X, tuple(self.feature_names_in_))
        frame = as_frame(X)
        if frame is None:
            encoded = self._encode_rows(self._states_of_array(X))
            return np.column_stack(state_columns(encoded, self._are_codes))
        measured = measure(frame, tuple(self.feature_names_in_), self._next_state)
        with measured.naming_what_is_refused(self.transformer_):
            encoded = self._encode_rows(measured.rows)
        require_finite(encoded, measured, self.transformer_)
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
        names = self._feature_names()
        if input_features is not None and len(input_features) != len(names):
            raise ValueError(
                "input_features should have length equal to number of features "
                f"({len(names)}), got {len(input_features)}."
            )
        if input_features is None:
            input_features = names
        elif hasattr(self, "feature_names_in_") and names != list(input_features):
            raise ValueError(
                f"input_features is not equal to feature_names_in_: {quoted(names)} were seen in "
                "fit."
            )
        encoded = self._encoded_names(tuple(input_features))
        if self._table_columns is None:
            return np.array(encoded, dtype=object)
        nexts = find_next_names(tuple(names), self._next_state, self._table_columns)
        kept = self._kept_names(tuple(names), nexts, self._table_columns)
        following = () if nexts is None else self._encoded_names(tuple(names), nexts)
        return np.array([*encoded, *kept, *following], dtype=object)

    def describe_states(self) -> pd.DataFrame:
        """Return what each state means in the units of the measurements.

        Returns
        -------
        table : pandas.DataFrame of n_states rows
            One row for each state that a row of the log in ``fit`` was encoded as, sorted. First
            the encoded state, under the names that ``transform`` gives it (with ``state_`` before
            a name that is one of those below), then ``n_rows``, the rows in that state, then, for
            each measurement ``c``, its values there:

            - of bins, ``c_min`` and ``c_max`` are the borders: c_min <= c < c_max. The outermost
              are infinite, because a measurement beyond all borders goes to the nearest bin.
            - Where another transformer makes a column of each measurement and keeps its name,
              ``c_min`` and ``c_max`` are the smallest and the largest value of the rows with that
              code.
            - Otherwise, as of clusters and leaves, ``c_q25``, ``c_median`` and ``c_q75`` are the
              quartiles of the rows in that state.
            - Of a column that is no number, and of whatever an ``OrdinalEncoder`` encodes,
              ``c_label`` is the most frequent label, ``c_share`` its share of these rows.

        Raises
        ------
        NotFittedError
            If the encoder is not fitted.
        ValueError
            If there are more than 1000 states, most of a single row: nothing is kept of those.

        See Also
        --------
        skmdp.inspection.policy_table : Shows these ranges beside the advice of a policy.

        Notes
        -----
        ``fit`` keeps these numbers, not the rows: O(n_states) for each column. Next states are not
        counted. Missing measurements are left out of ranges and quartiles, and are a label of their
        own among labels.

        Examples
        --------
        >>> import pandas as pd
        >>> from sklearn.cluster import KMeans
        >>> from sklearn.preprocessing import KBinsDiscretizer
        >>> from skmdp.preprocessing import StateEncoder
        >>> log = pd.DataFrame({"wear": [0.0, 2.0, 5.0, 8.0], "heat": [20.0, 30.0, 80.0, 90.0]})
        >>> bins = KBinsDiscretizer(2, encode="ordinal", strategy="uniform")
        >>> StateEncoder(bins, state="wear").fit(log).describe_states()
           wear  n_rows  wear_min  wear_max
        0     0       2      -inf       4.0
        1     1       2       4.0       inf

        Clusters overlap in each column, so their middle halves are told:

        >>> clusters = StateEncoder(KMeans(2, random_state=0), state=["wear", "heat"]).fit(log)
        >>> clusters.describe_states()[["n_rows", "wear_median", "heat_q25", "heat_q75"]]
           n_rows  wear_median  heat_q25  heat_q75
        0       2          6.5      82.5      87.5
        1       2          1.0      22.5      27.5
        """
        check_is_fitted(self)
        return require_summary(self._summary).to_frame()

    def __skmdp_parts__(self) -> tuple[Part, ...]:
        check_is_fitted(self)
        return () if self._summary is None else self._summary.parts

    def set_output(
        self, *, transform: Literal["default", "pandas", "polars"] | None = None
    ) -> Self:
        """Set the kind of table that ``transform`` and ``fit_transform`` return.

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

    def __skmdp_measured__(self) -> dict[Name, Name | None]:
        # Which columns of a table are measured, and where the next ones are if not under the
        # usual names; of an array there are none.
        if self._table_columns is None:
            return {}
        names = tuple(self.feature_names_in_)
        return dict(zip(names, self._next_state or (None,) * len(names), strict=True))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.transformer is not None:  # the output is that of the transformer
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
        X = without_mask(X, "X")
        return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)

    def _feature_names(self) -> list[Any]:
        """Return the names of the state columns, or numbers for those without names."""
        default = [f"x{j}" for j in range(self.n_features_in_)]
        return list(getattr(self, "feature_names_in_", default))

    def _kept_names(self, names: Names, nexts: Names | None, columns: Sequence[Any]) -> list[Any]:
        """Return the columns of the table of fit that stay beside the encoded ones."""
        handed_on = handed_on_as(names, nexts, columns) if self._is_log(columns) else {}
        replaced = {*names, *(nexts or ())} - set(handed_on)
        return [handed_on.get(name, name) for name in columns if name not in replaced]

    def _is_log(self, columns: Sequence[Any]) -> bool:
        """Whether a table holds decisions, not only states."""
        return self.action in columns

    def _encode_rows(self, rows: Any) -> Array:
        return encode(self.transformer_, self._method, rows)

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

    def _encoded_names(self, names: Names, nexts: Names | None = None) -> Names:
        """Return the names of the encoded states, or, given theirs, of the next states."""
        return encoded_names(self.transformer_, self._method, names, nexts)

    def _output(self, X: Any, encoded: Array, measured: Measured | None) -> Any:
        """Return the states in the kind of table that X is, or that was asked for."""
        config = getattr(self, "_sklearn_output_config", {})
        wanted = config.get("transform", get_config()["transform_output"])
        if measured is not None:
            columns = state_columns(encoded, self._are_codes)
            following = None
            if measured.nexts is not None:
                following = self._encoded_names(measured.names, measured.nexts)
            table = exchange(
                measured,
                columns,
                self._encoded_names(measured.names),
                following,
                is_log=self._is_log(measured.frame.columns),
            )
            return convert_table(table, wanted)
        if wanted == "default":
            return encoded
        made = self.get_feature_names_out()
        index = X.index if isinstance(X, pd.DataFrame) else None
        return convert_table(pd.DataFrame(encoded, columns=made, index=index), wanted)
