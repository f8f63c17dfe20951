-- A day's arrivals as Parquet, for cheap queries over history and cheap recounts: what becomes a partition of `clicks_history`.
-- Every row of a click or heartbeat is kept, so that a recount from it is the same. UNLOAD is Athena's own; DuckDB runs the
-- SELECT alone.
UNLOAD (
    SELECT
        v, click_id, impression_id, ad_id, campaign_id, advertiser_id, placement_id, clicked_at_ms, verdict, duplicate_of, claimed,
        partition_key, device, country, network, client_hash, agent_hash, dwell_ms, referrer_host, heartbeat, shard, sent_at_ms, hr
    FROM clicks
    WHERE dt = '{day}' AND (click_id IS NOT NULL OR heartbeat IS NOT NULL)
)
TO '{location}'
WITH (format = 'PARQUET', compression = 'ZSTD')
