-- What the live fold takes for a click's record; everything else in the lake is a heartbeat or lies in quarantine.
(
    v = 1
    AND length(click_id) = 22
    AND try_cast(ad_id AS bigint) > 0
    AND try_cast(campaign_id AS bigint) > 0
    AND try_cast(advertiser_id AS bigint) > 0
    AND clicked_at_ms >= 0
    AND verdict IN (
        'valid', 'prefetch', 'missing_token', 'bad_token', 'expired_token', 'inactive_ad', 'bot', 'rate_limited', 'duplicate'
    )
    AND (claimed OR verdict <> 'valid' OR impression_id IS NOT NULL)
    AND device IN ('desktop', 'mobile', 'tablet', 'tv', 'bot', 'other', 'unknown')
    AND length(country) = 2
)
