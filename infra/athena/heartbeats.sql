-- The heartbeats of some arrival partitions.
SELECT DISTINCT heartbeat
FROM {clicks}
WHERE {partitions} AND v = 1 AND heartbeat IS NOT NULL
