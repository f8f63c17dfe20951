-- An hour, recounted: one row per click_id, grouped by entity, minute, verdict and cell. The rows without an id are sums over
-- a kind; they come first. Copies of a record are alike, so min() only says which of equal values. `unclaimed` clicks are valid
-- ones whose claim was not answered: whose they are is for the claims to say. Kind 6 is a pair: an advertiser, and as `other`
-- its placement, which is 0 of every other kind. Athena (Trino) and DuckDB run this alike.
WITH once AS (
    SELECT
        click_id,
        count(*) AS copies,
        min(try_cast(ad_id AS bigint)) AS ad_id,
        min(try_cast(campaign_id AS bigint)) AS campaign_id,
        min(try_cast(advertiser_id AS bigint)) AS advertiser_id,
        min(try_cast(placement_id AS bigint)) AS placement_id,
        min(clicked_at_ms - clicked_at_ms % 60000) AS minute_ms,
        min(CASE WHEN verdict = 'valid' AND NOT claimed THEN 'unclaimed' ELSE verdict END) AS verdict,
        min(device) AS device,
        min(country) AS country
    FROM {clicks}
    WHERE {partitions} AND {counted} AND clicked_at_ms >= {from_ms} AND clicked_at_ms < {to_ms}
    GROUP BY click_id
),
grouped AS (
    SELECT
        ad_id,
        campaign_id,
        advertiser_id,
        placement_id,
        minute_ms,
        verdict,
        CASE WHEN verdict = 'valid' THEN device END AS device,
        CASE WHEN verdict = 'valid' THEN country END AS country,
        count(*) AS clicks,
        sum(copies) AS copies
    FROM once
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
),
entities AS (
    SELECT
        kind,
        CASE kind
            WHEN 1 THEN ad_id
            WHEN 2 THEN campaign_id
            WHEN 3 THEN advertiser_id
            WHEN 4 THEN placement_id
            WHEN 6 THEN advertiser_id
            ELSE 0
        END AS id,
        CASE kind WHEN 6 THEN placement_id ELSE 0 END AS other,
        minute_ms,
        verdict,
        device,
        country,
        clicks,
        copies
    FROM grouped
    CROSS JOIN (VALUES (1), (2), (3), (4), (5), (6)) AS kinds (kind)
    WHERE kind NOT IN (4, 6) OR placement_id IS NOT NULL
)
SELECT kind, id, other, minute_ms, verdict, device, country, sum(clicks) AS clicks, sum(copies) AS copies
FROM entities
GROUP BY GROUPING SETS ((kind, id, other, minute_ms, verdict, device, country), (kind))
ORDER BY kind, id NULLS FIRST, other, minute_ms, verdict, device, country
