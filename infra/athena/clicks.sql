-- Single clicks, one row per click_id, in the order of their ids: base64url's own order is not that of the bytes.
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
WHERE {partitions} AND {counted} AND clicked_at_ms >= {from_ms} AND clicked_at_ms < {to_ms} AND {which}
GROUP BY click_id
ORDER BY {order}
LIMIT {limit}
