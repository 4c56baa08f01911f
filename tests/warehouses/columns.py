"""The types in which the columns land."""

# ruff: noqa: E501 - a table is easier to read in one piece

from __future__ import annotations

TABLE = """
| column | postgres | duckdb | jsonl | snowflake | bigquery |
| --- | --- | --- | --- | --- | --- |
| Id | bigint | HUGEINT | BIGINT | NUMBER | INT64 |
| UniqueId | text | VARCHAR | UUID | TEXT | STRING |
| CoworkerExtraServiceId | bigint | HUGEINT | BIGINT | NUMBER | INT64 |
| BookingId | bigint | HUGEINT | BIGINT | NUMBER | INT64 |
| BookingFromTime | timestamp without time zone | TIMESTAMP | TIMESTAMP WITH TIME ZONE | TIMESTAMP_NTZ | TIMESTAMP |
| BookingToTime | timestamp without time zone | TIMESTAMP | TIMESTAMP WITH TIME ZONE | TIMESTAMP_NTZ | TIMESTAMP |
| BookingResourceName | text | VARCHAR | VARCHAR | TEXT | STRING |
| CreditUsed | bigint | HUGEINT | HUGEINT | NUMBER | INT64 |
| CreatedOn | timestamp without time zone | TIMESTAMP | TIMESTAMP WITH TIME ZONE | TIMESTAMP_NTZ | TIMESTAMP |
| UpdatedOn | timestamp without time zone | TIMESTAMP | TIMESTAMP WITH TIME ZONE | TIMESTAMP_NTZ | TIMESTAMP |
| UpdatedBy | text | VARCHAR | VARCHAR | TEXT | STRING |
| IsNew | boolean | BOOLEAN | BOOLEAN | BOOLEAN | BOOL |
| SystemId | text | VARCHAR | VARCHAR | TEXT | STRING |
| ToStringText | text | VARCHAR | VARCHAR | TEXT | STRING |
| LocalizationDetails | text | VARCHAR | VARCHAR | TEXT | STRING |
| CustomFields | text | VARCHAR | VARCHAR | TEXT | STRING |
| _sdc_deleted_at | timestamp without time zone | TIMESTAMP | TIMESTAMP WITH TIME ZONE | TIMESTAMP_NTZ | TIMESTAMP |
"""


def _parse(table: str) -> dict[str, dict[str, str]]:
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.split("\n")]
    header, _, *rows = (row for row in cells if len(row) > 1)
    return {name: dict(zip(header[1:], types, strict=True)) for name, *types in rows}


COLUMNS = _parse(TABLE)
"""By column, by engine."""
