"""Real engines that hold lazy tables, each a function from an Arrow table to a table of its own."""

import functools
import importlib.util
import itertools
import warnings

import pandas as pd
import polars as pl
import pyarrow as pa

# What libraries say of each other, not of us.
NOISE = [
    "ignore:fetch_arrow_table:DeprecationWarning",
    "ignore:.*infer_string:Warning",
    "ignore:.*pandas >= 3:FutureWarning",
    "ignore:pandas only supports SQLAlchemy:UserWarning",
    "ignore:The copy keyword is deprecated:Warning",
]
NUMBERS = itertools.count()


def polars_lazy(table):
    return pl.from_arrow(table).lazy()


@functools.cache
def duckdb_connection():
    import duckdb

    return duckdb.connect()  # old relations do not keep theirs alive


def duckdb_relation(table):
    return duckdb_connection().from_arrow(table)


def ibis_table(table):
    import duckdb
    import ibis

    connection = duckdb.connect()
    connection.register("rows_of_arrow", table)
    connection.execute("create table log as from rows_of_arrow")
    return ibis.duckdb.from_connection(connection).table("log")


@functools.cache
def sqlframe_session():
    """The one session, as there is one a process, and its connection."""
    import duckdb
    from sqlframe.duckdb import DuckDBSession

    connection = duckdb.connect()
    return DuckDBSession(conn=connection), connection


def sqlframe_table(table):
    session, connection = sqlframe_session()
    name = f"log_{next(NUMBERS)}"
    connection.register("rows_of_arrow", table)
    connection.execute(f"create table {name} as from rows_of_arrow")
    return session.sql(f"select * from {name}")


@functools.cache
def spark_session():
    """The one session of a test run: starting it takes seconds."""
    from pyspark.sql import SparkSession

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "2")
            # Tables are small: to compile each query takes longer than to run it.
            .config("spark.sql.codegen.wholeStage", "false")
            .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
    return session


def spark_frame(table):
    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if pa.types.is_dictionary(column.type):  # Spark has neither these nor unsigned integers
            table = table.set_column(place, name, column.cast(column.type.value_type))
        elif pa.types.is_unsigned_integer(column.type):
            table = table.set_column(place, name, column.cast(pa.int16()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return spark_session().createDataFrame(table)


ENGINES = {
    "polars": polars_lazy,
    "duckdb": duckdb_relation,
    "ibis": ibis_table,
    "sqlframe": sqlframe_table,
    "pyspark": spark_frame,
}
# Those installed here: old versions of some do not exist for old versions of others.
HERE = [name for name in ENGINES if importlib.util.find_spec(name) is not None]
# They take long to write long queries, which DuckDB runs for SQLFrame: both have but few.
WRITE_SLOWLY = ["ibis", "sqlframe", "pyspark"]
QUICK = [name for name in HERE if name != "sqlframe"]


def asked_of(cases, long_ones):
    """Pair cases, tables first, with engines; of those that read steps the slow have some only."""
    return [
        (name, case)
        for case, (table, *_) in cases.items()
        for name in HERE
        if name not in WRITE_SLOWLY or "step" not in table.column_names or case in long_ones
    ]


EAGER = {
    "pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "pyarrow": lambda table: table,
}
