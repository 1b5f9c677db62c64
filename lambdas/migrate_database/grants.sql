-- What each role may do, said anew by the owner after every migration: what is not written here is taken away.
-- A table or a function that a migration adds gets its line below; without one only the owner uses it, and
-- `retrain`, which acts as the owner. Partitions need none: they are reached through their table.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;

DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('REVOKE ALL ON TABLE %s FROM PUBLIC, api_read, api_write, housekeeping', oid::regclass)
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relowner = current_user::regrole
            -- Others have no grants to take: among them the partitions that come and go meanwhile.
            AND (relacl IS NOT NULL
                OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attacl IS NOT NULL))
        UNION ALL
        SELECT format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, api_read, api_write, housekeeping', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proowner = current_user::regrole
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;

-- What answers are made from.
GRANT SELECT ON versions, serving, recommendations, events, items, categories, catalogues, stock TO api_read;
GRANT EXECUTE ON FUNCTION recommendation_keys() TO api_read;

-- Posted events, items, and what operators ask about a user. Tombstones are found by the keys they were made with.
GRANT SELECT, INSERT ON events TO api_write;
GRANT SELECT, INSERT, UPDATE ON items TO api_write;
GRANT SELECT ON versions, serving, recommendations, deleted_users TO api_write;
GRANT SELECT (purpose, id, secret) ON keys TO api_write;
GRANT EXECUTE ON FUNCTION
    recommendation_keys(), ensure_events_partition(date), delete_user(text), hmac_key(bytea, integer) TO api_write;

-- Partitions ahead, a new key, attribution, and how old everything is.
GRANT SELECT ON versions, serving, events, event_exports, attributed, attribution_progress TO housekeeping;
GRANT SELECT (purpose, made_at) ON keys TO housekeeping;
GRANT EXECUTE ON FUNCTION
    ensure_events_partition(date), rotate_key(text, interval), count_attribution(interval, bigint) TO housekeeping;
