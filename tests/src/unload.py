"""UNLOAD as Athena does it: the statement's SELECT over the objects of its day, by DuckDB, and the result as Parquet where it says.

Reads {"endpoint": "http://…", "account": "…", "sql": "UNLOAD (…) TO 's3://…' WITH (…)"} from standard input.
"""

import json
import os
import re
import sys
import tempfile
import urllib.parse
import urllib.request
import xml.etree.ElementTree

import duckdb

TYPES = {"v": "INTEGER", "clicked_at_ms": "BIGINT", "claimed": "BOOLEAN", "dwell_ms": "BIGINT", "sent_at_ms": "BIGINT"}

request = json.load(sys.stdin)
statement = re.fullmatch(
    r"\s*UNLOAD \(\s*(SELECT\s+(.*?)\s+FROM clicks\s+WHERE dt = '([0-9-]{10})'.*)\)\s*TO 's3://([^/']+)/([^']+/)'\s*"
    r"WITH \(format = 'PARQUET', compression = 'ZSTD'\)\s*",
    request["sql"],
    re.DOTALL,
)
if not statement:
    sys.exit("this is no UNLOAD that is known here")
select, columns, day, bucket, to = statement.groups()
url = f"{request['endpoint']}/{bucket}"
credential = f"{request['account']}/20260101/us-east-1/s3/aws4_request"
headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"}


def call(path, data=None):
    method = "GET" if data is None else "PUT"
    asked = urllib.request.Request(f"{url}{path}", data=data, headers=headers, method=method)
    with urllib.request.urlopen(asked) as answer:
        return answer.read()


def keys(prefix):
    listed = xml.etree.ElementTree.fromstring(call(f"?list-type=2&prefix={urllib.parse.quote(prefix)}"))
    return [element.text for element in listed.iter() if element.tag.endswith("Key")]


if keys(to):
    sys.exit(f"HIVE_PATH_ALREADY_EXISTS: s3://{bucket}/{to}")
with tempfile.TemporaryDirectory() as folder:
    files = []
    for key in keys(f"lake/dt={day}/"):
        files.append(os.path.join(folder, key))
        os.makedirs(os.path.dirname(files[-1]), exist_ok=True)
        with open(files[-1], "wb") as file:
            file.write(call(f"/{urllib.parse.quote(key)}"))
    names = [name.strip() for name in columns.split(",") if name.strip() != "hr"]
    described = ", ".join(f"{name}: '{TYPES.get(name, 'VARCHAR')}'" for name in names)
    db = duckdb.connect()
    db.execute(
        f"CREATE VIEW clicks AS SELECT * FROM read_ndjson({files}, columns = {{{described}}}, hive_partitioning = true, "
        "hive_types_autocast = false, ignore_errors = true)"
    )
    made = os.path.join(folder, "made.parquet")
    db.execute(f"COPY ({select}) TO '{made}' (FORMAT parquet, COMPRESSION zstd)")
    with open(made, "rb") as file:
        call(f"/{urllib.parse.quote(to)}part-0", file.read())
