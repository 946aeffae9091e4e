"""Pieces of one self-contained HTML page; all text is escaped here."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1b1f24;max-width:60rem;margin:0 auto;padding:1rem;
overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2}h2{font-size:1.25rem;margin-top:2.2rem}
.verdict{font-size:1.1rem;border-left:.35rem solid #31688e;background:#f3f6f9;padding:.7rem 1rem;
white-space:pre-line}
.warning{border-left:.35rem solid #b35900;background:#fdf6ec;padding:.4rem .8rem;margin:.4rem 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;width:100%}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d7dde3;vertical-align:top}
.audit td,#policy td:not(.number){min-width:7rem}
th{min-width:5.5rem}
td.number{overflow-wrap:normal;white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}
th button{font:inherit;font-weight:600;background:none;border:0;padding:0;cursor:pointer;
text-align:left}
th button::after{content:"\\2195";opacity:.4;padding-left:.2rem}
input[type=search]{font:inherit;padding:.35rem .6rem;width:100%;max-width:24rem;
box-sizing:border-box;margin:.4rem 0}
img{max-width:100%;height:auto}
figure{margin:1.2rem 0}figcaption{font-size:.88rem;color:#4a5561}
code,pre{font-size:.85rem;background:#f3f6f9;padding:.05rem .3rem;white-space:pre-wrap;
overflow-wrap:anywhere}
@media print{body{max-width:none}input[type=search]{display:none}th button::after{content:""}
.wide{overflow:visible}h2,figure{break-inside:avoid}tr{break-inside:avoid}}
"""

# Rows are hidden by what is typed, and put in the order of a column by a click.
SCRIPT = """
for (const box of document.querySelectorAll("input[type=search]")) {
  const table = document.getElementById(box.dataset.table);
  const count = document.getElementById(box.dataset.table + "-count");
  const filter = () => {
    const wanted = box.value.trim().toLowerCase();
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = shown + " of " + table.tBodies[0].rows.length + " rows";
  };
  box.addEventListener("input", filter);
  filter();
  table.querySelectorAll("th button").forEach((button, column) => {
    let rising = false;
    button.addEventListener("click", () => {
      rising = !rising;
      const key = (row) => row.cells[column].dataset.sort;
      const number = (row) => key(row) === "" ? -Infinity : Number(key(row));
      const isNumber = [...table.tBodies[0].rows].every((row) => !Number.isNaN(number(row)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => isNumber
        ? number(a) - number(b)
        : key(a).localeCompare(key(b), undefined, {numeric: true}));
      if (!rising) rows.reverse();
      table.tBodies[0].append(...rows);
      table.querySelectorAll("th").forEach((head) => head.removeAttribute("aria-sort"));
      button.parentElement.setAttribute("aria-sort", rising ? "ascending" : "descending");
    });
  });
}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{''.join(parts)}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a section under a heading."""
    return f"<section><h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph, of a kind that the style knows."""
    marked = f' class="{kind}"' if kind else ""
    return f"<p{marked}>{escape(text)}</p>\n"


def listed(texts: Iterable[str]) -> str:
    """Return a list of sentences."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>\n"


def figure(drawn: Any, caption: str) -> str:
    """Return a matplotlib figure as an image that the page holds itself."""
    stored = io.BytesIO()
    drawn.savefig(stored, format="png", dpi=110)
    data = base64.b64encode(stored.getvalue()).decode()
    words = escape(caption)
    return (
        f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>\n"
    )


def table(frame: pd.DataFrame, name: str = "") -> str:
    """Return a table; with a name, one that can be searched and sorted."""
    heads = [escape(str(column)) for column in frame.columns]
    if name:
        heads = [f'<button type="button">{head}</button>' for head in heads]
    columns = [_cells(frame[column]) for column in frame.columns]
    rows = ("".join(cells) for cells in zip(*columns, strict=True))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    head = "".join(f"<th>{text}</th>" for text in heads)
    box = ""
    if name:
        box = (
            f'<input type="search" data-table="{name}" placeholder="search" '
            f'aria-label="search the table"> <span id="{name}-count"></span>'
        )
    marked = f' id="{name}"' if name else ""
    return (
        f'{box}<div class="wide"><table{marked}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def facts(of: Mapping[str, object]) -> str:
    """Return names and what belongs to each."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in of.items()
    )
    return f'<div class="wide"><table>{rows}</table></div>\n'


def _cells(column: pd.Series) -> Sequence[str]:
    """Return the cells of a column: as they are written, and as they are put in order."""
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number:
        return [
            f'<td class="number" data-sort="{"" if pd.isna(value) else repr(float(value))}">'
            f"{'' if pd.isna(value) else format(float(value), ',.4g')}</td>"
            for value in column
        ]
    if isinstance(column.dtype, pd.IntervalDtype):
        places = column.rank(method="dense")
        return [
            f'<td data-sort="{place:g}">{escape(str(value))}</td>'
            for value, place in zip(column, places, strict=True)
        ]
    return [f'<td data-sort="{escape(str(value))}">{escape(str(value))}</td>' for value in column]
