-- Makes a key the current one, unless the current one is younger than that; the id of the current one after it.
-- The one before is accepted on. Older ones are only kept for whoever judges events that came late: an event may
-- be posted 90 days after it happened, so a key goes that long after its successor's own was made.
CREATE FUNCTION rotate_key(purpose text, older_than interval DEFAULT interval '0') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    new_secret bytea := sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea);
    current_id text;
    current_made_at timestamptz;
BEGIN
    -- Without its key a tombstone could not be told from any other.
    IF rotate_key.purpose IS DISTINCT FROM 'recommendation_ids' THEN
        RAISE EXCEPTION 'keys of the purpose % are not rotated', rotate_key.purpose
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('key of ' || rotate_key.purpose));
    SELECT keys.id, keys.made_at INTO current_id, current_made_at FROM keys
    WHERE keys.purpose = rotate_key.purpose ORDER BY keys.made_at DESC, keys.id LIMIT 1;
    IF current_made_at > clock_timestamp() - older_than THEN
        RETURN current_id;
    END IF;
    current_id := left(encode(sha256(new_secret), 'hex'), 16);
    -- Later than the one before, even where the clock was set back.
    INSERT INTO keys (purpose, id, secret, made_at) VALUES (
        rotate_key.purpose, current_id, new_secret,
        greatest(clock_timestamp(), current_made_at + interval '1 microsecond'));
    DELETE FROM keys USING (
        SELECT id, row_number() OVER newest_first AS place, lag(made_at, 2) OVER newest_first AS unaccepted_since
        FROM keys WHERE keys.purpose = rotate_key.purpose
        WINDOW newest_first AS (ORDER BY made_at DESC, id)
    ) AS ranked
    WHERE keys.purpose = rotate_key.purpose AND keys.id = ranked.id
        AND ranked.place > 2 AND ranked.unaccepted_since < clock_timestamp() - interval '90 days';
    RETURN current_id;
END
$$;

-- The current key of recommendation ids, then the one before, where there is one. Made where there is none.
CREATE FUNCTION recommendation_keys() RETURNS TABLE (id text, secret bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM keys WHERE purpose = 'recommendation_ids') THEN
        -- Several may be here at once: who comes second finds a key that was just made.
        PERFORM rotate_key('recommendation_ids', interval '1 hour');
    END IF;
    RETURN QUERY SELECT keys.id, keys.secret FROM keys WHERE purpose = 'recommendation_ids'
    ORDER BY made_at DESC, keys.id LIMIT 2;
END
$$;
