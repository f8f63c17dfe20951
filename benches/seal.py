"""The same hour, grouped by DuckDB: one row for each click, then counts by entity, minute and counter.

    seal.py DIR    DIR as `seal make` has filled it
"""

import resource
import sys
import time

import duckdb

HOUR_MS, FROM_MS = 3_600_000, 1_767_312_000_000
COLUMNS = {
    "click_id": "VARCHAR",
    "ad_id": "VARCHAR",
    "campaign_id": "VARCHAR",
    "advertiser_id": "VARCHAR",
    "placement_id": "VARCHAR",
    "clicked_at_ms": "BIGINT",
    "verdict": "VARCHAR",
    "claimed": "BOOLEAN",
    "device": "VARCHAR",
    "country": "VARCHAR",
}
columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
once = ", ".join(f"any_value({name}) AS {name}" for name in COLUMNS if name != "click_id")

begun = time.monotonic()
db = duckdb.connect()
db.execute("SET threads = 2")
groups, clicks = db.execute(
    f"""
    WITH rows AS (
        SELECT * FROM read_ndjson('{sys.argv[1]}/lake/**/*.ndjson', columns = {{{columns}}})
        WHERE clicked_at_ms >= {FROM_MS} AND clicked_at_ms < {FROM_MS + HOUR_MS}
    ), clicks AS (
        SELECT click_id, count(*) AS copies, {once} FROM rows GROUP BY click_id
    ), counters AS (
        SELECT *, clicked_at_ms // 60000 AS minute,
            CASE WHEN verdict <> 'valid' THEN verdict WHEN claimed THEN device || country ELSE 'unclaimed' END AS counter
        FROM clicks
    ), groups AS (
        SELECT ad_id, campaign_id, advertiser_id, placement_id, minute, counter, count(*) AS clicks, sum(copies) AS copies
        FROM counters
        GROUP BY GROUPING SETS (
            (ad_id, minute, counter), (campaign_id, minute, counter), (advertiser_id, minute, counter),
            (placement_id, minute, counter), (minute, counter))
    )
    SELECT count(*), sum(clicks) FILTER (
        ad_id IS NULL AND campaign_id IS NULL AND advertiser_id IS NULL AND placement_id IS NULL) FROM groups
    """
).fetchone()
took = time.monotonic() - begun
print(f"DuckDB {duckdb.__version__}: {groups} groups in {took:.2f}s")
print(f"VmHWM: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} kB")
