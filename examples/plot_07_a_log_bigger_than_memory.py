"""
A log that is bigger than memory
================================

A warehouse keeps 100 products. Every evening it may order up to nine of each, and every night is
one row of a log: what was in stock, what was ordered, what the day then earned, and what was left.
After some years that is 20 million rows. How long does it take to learn from them, and how much
memory, if DuckDB may use no more than 256 MB?

The log is written as Parquet, and handed to the estimator as a query on the files. DuckDB counts
the distinct transitions, of which there are about 200,000; only these come to Python. Whether the
rows are in memory or in files makes no difference to the policy, as one of the files shows.

::

    python examples/plot_07_a_log_bigger_than_memory.py

writes to a temporary folder, which it removes. A number after the name says how many rows to
write, 20 million if there is none. Needs duckdb and pyarrow, and Linux or macOS to tell the peak of
memory.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skmdp import MarkovPolicyEstimator

N_ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
ROWS_PER_FILE = min(1_000_000, N_ROWS // 2)
N_PRODUCTS, CAPACITY, MOST_ORDERED = 100, 20, 9
COLUMNS = {
    "state": ["product", "stock"],
    "action": "ordered",
    "reward": "profit",
}


# %%
# One file after the other is drawn. Each product is asked for so many times a day on average; what
# is sold earns 4, what is ordered costs 1 and the way 2, what is kept overnight costs 0.1.
def draw_rows(rng, n):
    """Return a table of so many nights."""
    product = rng.integers(N_PRODUCTS, size=n)
    stock, ordered = rng.integers(CAPACITY, size=n), rng.integers(MOST_ORDERED + 1, size=n)
    available = np.minimum(stock + ordered, CAPACITY - 1)
    left = np.maximum(available - rng.poisson(1 + product / 20), 0)
    profit = 4.0 * (available - left) - ordered - 2.0 * (ordered > 0) - 0.1 * left
    columns = {"product": product, "stock": stock, "ordered": ordered, "profit": profit}
    return pa.table({**columns, "next_product": product, "next_stock": left})


def megabytes_at_most():
    """Return the largest amount of memory that this process has held so far."""
    unit = 1024 if sys.platform == "linux" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def learn(log):
    """Return the policy that a log supports."""
    return MarkovPolicyEstimator(**COLUMNS, gamma=0.95).fit(log)


with tempfile.TemporaryDirectory() as folder:
    rng = np.random.default_rng(0)
    for i in range(N_ROWS // ROWS_PER_FILE):
        pq.write_table(draw_rows(rng, ROWS_PER_FILE), f"{folder}/day{i:03d}.parquet")
    on_disk = sum(file.stat().st_size for file in Path(folder).glob("*.parquet"))
    print(f"written   {N_ROWS // ROWS_PER_FILE * ROWS_PER_FILE:,} rows, {on_disk / 1e6:.0f} MB")

    # %%
    # A query is handed over in place of a table.
    before = megabytes_at_most()
    limits = {"memory_limit": "256MB", "temp_directory": folder}
    connection = duckdb.connect(config=limits)
    start = time.perf_counter()
    policy = learn(connection.sql(f"select * from '{folder}/*.parquet'"))
    seconds = time.perf_counter() - start
    print(f"learned   from {policy.n_transitions_ / seconds / 1e6:.1f} million rows per second")
    print(f"memory    {megabytes_at_most():.0f} MB at most, of which {before:.0f} MB before")

    # %%
    # The same rows in memory and in a file: the same policy.
    file = f"{folder}/day000.parquet"
    in_memory, in_file = learn(pq.read_table(file)), learn(connection.sql(f"from '{file}'"))
    print("the same  in memory:", in_memory.policy_map() == in_file.policy_map())
    connection.close()

# %%
# What to order, for a product that is hardly asked for, and one that is asked for six times a day.
for product in (0, N_PRODUCTS - 1):
    advice = policy.predict([[product, stock] for stock in range(0, 12, 2)])
    print(f"order     of product {product:3d}, with 0, 2, 4, ... in stock:", *advice)
