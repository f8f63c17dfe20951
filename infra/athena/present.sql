-- Which of some clicks lie in some arrival partitions.
SELECT DISTINCT click_id
FROM {clicks}
WHERE {partitions} AND {counted} AND click_id IN ({ids})
