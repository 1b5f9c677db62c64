-- What visitors did with answers, counted by the hour; docs/attribution.md defines it. Nobody is named here.
CREATE TABLE attributed (
    hour timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN (
        -- answers, by whose version and variant they were
        'clicked', 'carted', 'bought',
        -- events, by version and variant of the answer that they began with; both are empty where there is none
        'add_to_cart', 'purchase',
        -- events that name an answer, by what its id turned out to be
        'own', 'malformed', 'unknown_key', 'forged', 'foreign', 'out_of_time')),
    version text NOT NULL DEFAULT '',
    variant text NOT NULL DEFAULT '',
    number bigint NOT NULL,
    PRIMARY KEY (hour, outcome, version, variant)
);

-- Transactions before `counted_to` are counted. They had all ended, so that nothing comes in between later.
CREATE TABLE attribution_progress (
    is_the_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_the_only_row),
    counted_to xid8 NOT NULL DEFAULT '0',
    -- The latest day of receipt among them.
    last_day date,
    touch_window interval,
    -- The moment of receipt up to which events are counted, and when none was left to be counted last.
    counted_until timestamptz,
    caught_up_at timestamptz
);
INSERT INTO attribution_progress DEFAULT VALUES;

-- Most events are views that name no answer: they are not looked at.
CREATE INDEX events_of_attribution ON events (user_id, "timestamp")
WHERE recommendation_id IS NOT NULL OR event_type IN ('add_to_cart', 'purchase');

-- Forgets what was counted of events that are still there, to count them anew. Days whose events are gone keep
-- their counts; what was posted late for those days is counted twice then.
CREATE FUNCTION restart_attribution() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM attribution_progress FOR UPDATE;
    -- Of a database that this one was restored from: its transactions have numbers that are still to come here.
    UPDATE events SET xid = DEFAULT WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
    DELETE FROM attributed WHERE hour >= (
        SELECT coalesce(min(received_on)::timestamp AT TIME ZONE 'UTC', 'infinity') FROM events);
    UPDATE attribution_progress SET counted_to = '0', last_day = NULL, caught_up_at = NULL, counted_until = NULL;
END
$$;

-- Counts events of transactions that were not counted yet, about so many; how many it were, and whether none is
-- left. What they change is the difference between two worlds: with and without them, among events of the same
-- visitors that are near enough in time to matter. So events may come late, and in any order.
CREATE FUNCTION count_attribution(touch_window interval, most_events bigint, OUT counted bigint, OUT is_done boolean)
LANGUAGE plpgsql SECURITY DEFINER
-- Near events are found by an index, visitor by visitor. Plans that read whole days look cheaper to a planner that
-- cannot know how many visitors there will be, nor that a day of which it has no statistics yet is not empty.
SET search_path FROM CURRENT SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    window_ms constant bigint := extract(epoch FROM touch_window) * 1000;
    -- Clocks of those that answer and of those that post differ by so much.
    skew_ms constant bigint := 300000;
    -- A touch is a window away from its answer at most, a cart from its touch, another touch from that cart, and
    -- each from its copies.
    reach_ms constant bigint := 4 * window_ms + 2 * skew_ms;
    began_at constant timestamptz := clock_timestamp();
    first_xid xid8;
    end_xid xid8 := pg_snapshot_xmin(pg_current_snapshot());
    last_xid xid8;
    received_until timestamptz;
    -- Days after the latest that holds such an event need not be looked at.
    latest_day date;
    old_window interval;
BEGIN
    SELECT counted_to, progress.touch_window INTO first_xid, old_window
    FROM attribution_progress AS progress FOR UPDATE;
    IF first_xid > end_xid THEN
        RAISE EXCEPTION 'transactions up to % are counted, and this database has only come to %', first_xid, end_xid
            USING HINT = 'It was restored from a dump. As the owner run: SELECT restart_attribution()';
    END IF;
    IF old_window <> touch_window THEN
        PERFORM restart_attribution();
        first_xid := '0';
    END IF;

    -- A transaction is counted whole.
    SELECT xid INTO last_xid FROM events AS posted
    WHERE xid >= first_xid AND xid < end_xid ORDER BY xid OFFSET most_events - 1 LIMIT 1;
    is_done := last_xid IS NULL;
    IF NOT is_done THEN
        end_xid := ((last_xid::text)::bigint + 1)::text::xid8;
    END IF;

    SELECT count(*), max(received_at), greatest(max(received_on), (SELECT last_day FROM attribution_progress))
    INTO counted, received_until, latest_day
    FROM events AS posted WHERE xid >= first_xid AND xid < end_xid;

    WITH new_events AS MATERIALIZED (
        SELECT user_id, "timestamp", received_on FROM events AS posted
        WHERE xid >= first_xid AND xid < end_xid
            AND (recommendation_id IS NOT NULL OR event_type IN ('add_to_cart', 'purchase'))
    ), visitors AS MATERIALIZED (
        SELECT user_id, min("timestamp") - reach_ms AS from_ms, max("timestamp") + reach_ms AS to_ms,
            -- An event is received when it happens or later; a day leaves room for clocks.
            least(min(received_on), (to_timestamp((min("timestamp") - reach_ms) / 1000) AT TIME ZONE 'UTC')::date)
                - 1 AS from_day
        FROM new_events GROUP BY user_id ORDER BY user_id
    ), found AS (
        SELECT posted.user_id, posted.item_id, posted.event_id, posted.event_type, posted."timestamp" AS ms,
            posted.recommendation_id AS token, posted.xid >= first_xid AS is_new,
            array_agg(posted."timestamp") OVER (
                PARTITION BY posted.user_id, posted.event_id ORDER BY posted.xid
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier_ms
        FROM visitors JOIN events AS posted ON posted.user_id = visitors.user_id
            AND posted."timestamp" BETWEEN visitors.from_ms AND visitors.to_ms
            AND posted.received_on BETWEEN visitors.from_day AND latest_day
        WHERE (posted.recommendation_id IS NOT NULL OR posted.event_type IN ('add_to_cart', 'purchase'))
            AND posted.xid < end_xid
    ), near AS MATERIALIZED (
        -- Posted again, such as after midnight, it is the same event.
        SELECT user_id, item_id, event_id, event_type, ms, token, is_new FROM found
        WHERE NOT EXISTS (SELECT FROM unnest(earlier_ms) AS earlier WHERE abs(earlier - ms) <= window_ms)
    ), pads AS MATERIALIZED (
        SELECT decode(id, 'hex') AS id, hmac_key(secret, 54) AS inner_key, hmac_key(secret, 92) AS outer_key
        FROM keys WHERE purpose = 'recommendation_ids'
    ), decoded AS MATERIALIZED (
        -- contract/recommendation_id.py describes the bytes: 30 of a head, two texts, 16 of a signature.
        SELECT *, CASE WHEN length(token) BETWEEN 64 AND 256 AND length(token) % 4 <> 1 AND token ~ '^[A-Za-z0-9_-]+$'
            THEN decode(rpad(translate(token, '-_', '+/'), (length(token) + 3) / 4 * 4, '='), 'base64') END AS bytes
        FROM near WHERE token IS NOT NULL
    ), signed AS MATERIALIZED (
        SELECT decoded.*, pads.outer_key, pads.inner_key, pads.id IS NOT NULL AS has_key,
            substr(bytes, 1, length(bytes) - 16) AS content, substr(bytes, length(bytes) - 15) AS mac,
            get_byte(bytes, 30) AS version_length,
            get_byte(bytes || '\x00'::bytea, least(31 + get_byte(bytes, 30), length(bytes))) AS variant_length,
            -- A decoder passes over bits that the last character has too many.
            get_byte(bytes, 0) = 1
                AND rtrim(translate(encode(bytes, 'base64'), E'+/\n', '-_'), '=') = token AS is_whole,
            ('x0000' || encode(substr(bytes, 10, 6), 'hex'))::bit(64)::bigint AS made_ms
        FROM decoded LEFT JOIN pads ON pads.id = substr(bytes, 2, 8)
        WHERE length(bytes) >= 48
    ), named AS MATERIALIZED (
        SELECT user_id, item_id, event_id, event_type, ms, token, is_new, content, version_length, variant_length,
            CASE
                WHEN NOT is_whole THEN 'malformed'
                WHEN NOT has_key THEN 'unknown_key'
                WHEN substr(sha256(outer_key || sha256(inner_key || content)), 1, 16) <> mac THEN 'forged'
                WHEN length(content) <> 32 + version_length + variant_length THEN 'malformed'
                WHEN substr(content, 22, 8) NOT IN ('\x0000000000000000'::bytea, substr(sha256(outer_key || sha256(
                    inner_key || '\x00'::bytea || substr(content, 16, 6) || convert_to(user_id, 'UTF8'))), 1, 8))
                    THEN 'foreign'
                WHEN ms NOT BETWEEN made_ms - skew_ms AND made_ms + window_ms THEN 'out_of_time'
                ELSE 'own'
            END AS verdict
        FROM signed
        UNION ALL
        SELECT user_id, item_id, event_id, event_type, ms, token, is_new, NULL, NULL, NULL, 'malformed'
        FROM decoded WHERE bytes IS NULL OR length(bytes) < 48
    ), known AS MATERIALIZED (
        SELECT user_id, item_id, event_id, event_type, ms, is_new, verdict, verdict = 'own' AS is_touch,
            CASE WHEN verdict = 'own' THEN token END AS token,
            CASE WHEN verdict = 'own' THEN convert_from(substr(content, 32, version_length), 'UTF8') END AS version,
            CASE WHEN verdict = 'own' THEN
                convert_from(substr(content, 33 + version_length, variant_length), 'UTF8') END AS variant
        FROM named
        UNION ALL
        SELECT user_id, item_id, event_id, event_type, ms, is_new, NULL, false, NULL, NULL, NULL
        FROM near WHERE near.token IS NULL
    ), worlds AS (
        SELECT known.*, is_with FROM known, (VALUES (true), (false)) AS two (is_with) WHERE is_with OR NOT is_new
    ), placed AS (
        -- Each touch opens a place, which whatever comes after it up to the next one is in.
        SELECT *, count(*) FILTER (WHERE is_touch) OVER (
            PARTITION BY is_with, user_id, item_id ORDER BY ms, NOT is_touch, event_id COLLATE "C") AS place
        FROM worlds
    ), begun AS (
        SELECT *, first_value(CASE WHEN is_touch THEN ms END) OVER touch AS touched_ms,
            first_value(token) OVER touch AS touched_token, first_value(version) OVER touch AS touched_version,
            first_value(variant) OVER touch AS touched_variant
        FROM placed
        WINDOW touch AS (PARTITION BY is_with, user_id, item_id, place ORDER BY NOT is_touch)
    ), bought AS (
        SELECT is_with, user_id, event_type, ms, touched_ms >= ms - window_ms AS is_begun,
            touched_token, touched_version, touched_variant
        FROM begun WHERE event_type IN ('add_to_cart', 'purchase')
    ), outcomes AS (
        SELECT is_with, min(ms) AS ms, 'clicked' AS outcome, version, variant
        FROM worlds WHERE is_touch GROUP BY is_with, user_id, token, version, variant
        UNION ALL
        SELECT is_with, min(ms), CASE event_type WHEN 'purchase' THEN 'bought' ELSE 'carted' END,
            touched_version, touched_variant
        FROM bought WHERE is_begun GROUP BY is_with, user_id, event_type, touched_token, touched_version, touched_variant
        UNION ALL
        SELECT is_with, ms, event_type, CASE WHEN is_begun THEN touched_version ELSE '' END,
            CASE WHEN is_begun THEN touched_variant ELSE '' END
        FROM bought
        UNION ALL
        SELECT true, ms, verdict, '', '' FROM known WHERE is_new AND verdict IS NOT NULL
    ), changes AS (
        SELECT date_trunc('hour', to_timestamp(ms / 1000), 'UTC') AS hour, outcome, version, variant,
            sum(CASE WHEN is_with THEN 1 ELSE -1 END)::bigint AS number
        FROM outcomes GROUP BY 1, 2, 3, 4
    )
    INSERT INTO attributed AS before (hour, outcome, version, variant, number)
    SELECT hour, outcome, version, variant, number FROM changes WHERE number <> 0
    ON CONFLICT (hour, outcome, version, variant) DO UPDATE SET number = before.number + excluded.number;

    UPDATE attribution_progress AS progress SET
        counted_to = end_xid,
        last_day = latest_day,
        touch_window = count_attribution.touch_window,
        counted_until = CASE WHEN is_done THEN began_at ELSE greatest(received_until, progress.counted_until) END,
        caught_up_at = CASE WHEN is_done THEN began_at ELSE progress.caught_up_at END;
END
$$;
