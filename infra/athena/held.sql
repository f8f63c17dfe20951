-- What a day holds, by hour of arrival and verdict, in one of its forms: Parquet is believed when both say the same.
SELECT
    hr,
    verdict,
    count(*) AS records,
    count(click_id) AS clicks,
    count(DISTINCT click_id) AS different_clicks,
    count(DISTINCT heartbeat) AS different_heartbeats,
    sum(clicked_at_ms % 86400000) AS clicked_ms,
    count(impression_id) AS impressions,
    count(placement_id) AS placements,
    count(CASE WHEN claimed THEN 1 END) AS claimed,
    min(click_id) AS first_click,
    max(click_id) AS last_click
FROM {form}
WHERE dt = '{day}' AND (click_id IS NOT NULL OR heartbeat IS NOT NULL)
GROUP BY hr, verdict
ORDER BY hr, verdict
