-- Duplicates whose owner the lake does not hold, in the order of their ids.
WITH duplicates AS (
    SELECT
        click_id,
        min(impression_id) AS impression_id,
        min(ad_id) AS ad_id,
        min(campaign_id) AS campaign_id,
        min(advertiser_id) AS advertiser_id,
        min(placement_id) AS placement_id,
        min(clicked_at_ms) AS clicked_at_ms,
        min(verdict) AS verdict,
        bool_and(claimed) AS claimed,
        min(device) AS device,
        min(country) AS country,
        min(duplicate_of) AS duplicate_of
    FROM {clicks}
    WHERE {partitions} AND {counted} AND clicked_at_ms >= {from_ms} AND clicked_at_ms < {to_ms}
        AND verdict = 'duplicate' AND duplicate_of IS NOT NULL AND {which}
    GROUP BY click_id
),
owners AS (
    SELECT DISTINCT click_id AS owner_id
    FROM {owner_clicks}
    WHERE {owner_partitions} AND {counted}
)
SELECT
    click_id, impression_id, ad_id, campaign_id, advertiser_id, placement_id, clicked_at_ms, verdict, claimed, device,
    country, duplicate_of
FROM duplicates
LEFT JOIN owners ON duplicate_of = owner_id
WHERE owner_id IS NULL
ORDER BY {order}
LIMIT {limit}
