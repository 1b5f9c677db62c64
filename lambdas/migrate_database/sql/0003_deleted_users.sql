-- Secrets that the product makes for itself, at first use. Named by their own hash, so that two databases
-- can tell theirs apart.
CREATE TABLE keys (
    purpose text NOT NULL,
    id text NOT NULL,
    secret bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (purpose, id)
);

-- Whom to forget, and up to when, without saying who it is. What they do afterwards is theirs to do.
CREATE TABLE deleted_users (
    key_id text NOT NULL,
    user_hash bytea NOT NULL,
    deleted_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, user_hash)
);

-- RFC 2104's inner (54) and outer (92) key of an HMAC with SHA-256, from a secret of at most 64 bytes.
CREATE FUNCTION hmac_key(secret bytea, pad integer) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    padded bytea := secret || decode(repeat('00', 64 - length(secret)), 'hex');
BEGIN
    FOR place IN 0..63 LOOP
        padded := set_byte(padded, place, get_byte(padded, place) # pad);
    END LOOP;
    RETURN padded;
END
$$;

-- The secret that new tombstones are made with; made where there is none.
CREATE FUNCTION tombstone_key_id() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    new_secret bytea := sha256((gen_random_uuid()::text || gen_random_uuid()::text)::bytea);
    found text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tombstone key'));
    SELECT id INTO found FROM keys WHERE purpose = 'tombstones' ORDER BY made_at DESC, id LIMIT 1;
    IF found IS NULL THEN
        found := left(encode(sha256(new_secret), 'hex'), 16);
        INSERT INTO keys (purpose, id, secret) VALUES ('tombstones', found, new_secret);
    END IF;
    RETURN found;
END
$$;

-- Forgets a user: their lists in every version, their events, and all that comes up again later of what
-- they did until now. What is counted was removed here.
CREATE FUNCTION delete_user(id text, OUT lists bigint, OUT events bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    -- A statement of its own: the next one wouldn't see a key that it makes itself.
    newest text := tombstone_key_id();
BEGIN
    INSERT INTO deleted_users (key_id, user_hash, deleted_at)
    SELECT keys.id, sha256(hmac_key(secret, 92) || sha256(hmac_key(secret, 54) || convert_to(delete_user.id, 'UTF8'))),
        date_trunc('milliseconds', clock_timestamp())
    FROM keys WHERE purpose = 'tombstones' AND keys.id = newest
    ON CONFLICT (key_id, user_hash) DO UPDATE SET deleted_at = excluded.deleted_at;
    DELETE FROM recommendations
    WHERE version = ANY (ARRAY(SELECT number FROM versions)) AND key = delete_user.id
        AND kind IN ('personal', 'history');
    GET DIAGNOSTICS lists = ROW_COUNT;
    DELETE FROM events WHERE user_id = delete_user.id;
    GET DIAGNOSTICS events = ROW_COUNT;
END
$$;

-- Takes out of a table of lists whoever was deleted after the lists' moment; how many lists it were.
-- Whoever calls it for a table that delete_user doesn't see yet must hold a lock on deleted_users.
CREATE FUNCTION obey_tombstones(lists regclass, as_of timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    removed bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM deleted_users WHERE deleted_at >= as_of) THEN
        RETURN 0;
    END IF;
    EXECUTE format($sql$
        WITH pads AS MATERIALIZED (
            SELECT id, hmac_key(secret, 54) AS inner_key, hmac_key(secret, 92) AS outer_key
            FROM keys WHERE purpose = 'tombstones'
        )
        DELETE FROM %s AS lists USING pads, deleted_users
        WHERE lists.kind IN ('personal', 'history')
            AND deleted_users.key_id = pads.id AND deleted_users.deleted_at >= $1
            AND deleted_users.user_hash = sha256(outer_key || sha256(inner_key || convert_to(lists.key, 'UTF8')))
    $sql$, lists) USING as_of;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
