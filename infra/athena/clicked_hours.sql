-- Which hours the clicks of some arrival partitions belong to.
SELECT
    clicked_at_ms - clicked_at_ms % 3600000 AS hour_ms,
    count(DISTINCT click_id) AS clicks,
    max(concat(dt, 'T', hr)) AS last_arrival
FROM {clicks}
WHERE {partitions} AND {counted}
GROUP BY 1
ORDER BY 1
