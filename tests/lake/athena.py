"""The statements of infra/athena on a folder of the lake, in DuckDB: a request as JSON on standard input.

    {"source": "…SQL of a table…", "queries": [{"sql": "…", "to": "FILE.csv"}]}

`source` becomes the table `clicks` of the statements. Each result goes to a file, as Athena's go to an object. Prints how long each took.
"""

import json
import sys
import time

import duckdb

request = json.load(sys.stdin)
db = duckdb.connect()
db.execute("SET threads = 2")
db.execute("SET memory_limit = '3GB'")
db.execute(f"CREATE VIEW clicks AS {request['source']}")
for query in request["queries"]:
    begun = time.monotonic()
    db.execute(f"COPY ({query['sql']}) TO '{query['to']}' ({query['form']})")
    print(f"{query['to'].rsplit('/', 1)[-1]}: {time.monotonic() - begun:.2f} s")
