"""What the guide says of big logs runs as it stands there."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import NOISE, spark_session, sqlframe_session

from skmdp import MarkovPolicyEstimator

pytestmark = [pytest.mark.filterwarnings(noise) for noise in NOISE]

GUIDE = (Path(__file__).parents[1] / "examples" / "GUIDE.md").read_text()
SECTION = GUIDE.split("## Big logs")[1].split("\n## ")[0]
BLOCKS = re.findall("```python\n([^>].*?)```", SECTION, re.DOTALL)


def library(block):
    """The library that a block imports first."""
    return re.search(r"(?:import|from) (\w+)", block)[1]


HERE = [block for block in BLOCKS if importlib.util.find_spec(library(block)) is not None]


def write_log(folder):
    rng = np.random.default_rng(0)
    state, action = rng.integers(8, size=3000), rng.integers(3, size=3000)
    following = (state + action) % 8
    table = pa.table(
        {
            "episode": np.arange(3000) // 6,
            "step": np.arange(3000) % 6,
            "state": [f"s{i}" for i in state],
            "action": [f"a{i}" for i in action],
            "next_state": [f"s{i}" if i else None for i in following],
            "reward": rng.integers(-4, 5, size=3000) / 4 + (following == 0),
        }
    )
    folder.mkdir()
    for part, start in enumerate((0, 1200, 2400)):
        pq.write_table(table.slice(start, 1200), folder / f"part{part}.parquet")
    return table


def test_every_engine_has_its_block():
    assert [library(block) for block in BLOCKS] == [
        "duckdb",
        "polars",
        "pyspark",
        "ibis",
        "sqlframe",
        "dask",
        "duckdb",
    ]


@pytest.mark.filterwarnings("ignore:The inplace keyword:Warning")  # of Dask
@pytest.mark.parametrize("block", HERE, ids=library)
def test_the_blocks_run_and_give_the_policy_of_the_table_in_memory(block, tmp_path, monkeypatch):
    table = write_log(tmp_path / "log")
    monkeypatch.chdir(tmp_path)
    if library(block) == "pyspark":
        spark_session()  # which the block gets, and its settings with it
        # Its process stays in the folder in which it was started.
        block = block.replace('"log"', f'"{tmp_path}/log"')
    if library(block) == "sqlframe":
        sqlframe_session()  # likewise: there is one a process, and others put tables there
    names = {"MarkovPolicyEstimator": MarkovPolicyEstimator}
    exec(block, names)
    expected = MarkovPolicyEstimator().fit(table)
    policy = names["policy"]
    assert policy.policy_map() == expected.policy_map()
    assert policy.n_transitions_ == 3000
    np.testing.assert_array_equal(policy.visit_counts_, expected.visit_counts_)
    np.testing.assert_allclose(policy.state_values_, expected.state_values_, rtol=1e-12)
