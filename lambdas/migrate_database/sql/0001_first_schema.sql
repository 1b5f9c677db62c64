-- Versions of the recommendations, and which of them answers.
CREATE TABLE versions (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    state text NOT NULL CHECK (state IN ('loading', 'ready', 'dropping')),
    manifest jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE serving (
    variant text PRIMARY KEY,
    version integer NOT NULL REFERENCES versions,
    share real NOT NULL DEFAULT 1 CHECK (share BETWEEN 0 AND 1),
    moved_at timestamptz NOT NULL DEFAULT now()
);

-- Every version that a variant has served: what a rollback can go back to.
CREATE TABLE serving_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    variant text NOT NULL,
    version integer NOT NULL REFERENCES versions ON DELETE CASCADE,
    moved_at timestamptz NOT NULL DEFAULT now()
);

-- One partition a version. The loader fills a standalone table and attaches it, so readers never wait.
CREATE TABLE recommendations (
    version integer NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    item_ids text[] NOT NULL,
    scores real[],
    event_types text[],
    timestamps bigint[],
    -- The key first: it says more than the kind, of which there are four.
    PRIMARY KEY (version, key, kind)
) PARTITION BY LIST (version);

-- What was posted to the API. One partition a day of receipt, so that old days can be dropped whole.
CREATE TABLE events (
    received_on date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    user_id text NOT NULL,
    event_id text NOT NULL DEFAULT gen_random_uuid()::text,
    item_id text NOT NULL,
    event_type text NOT NULL,
    "timestamp" bigint NOT NULL,
    recommendation_id text,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The export takes whole ranges of finished transactions: a serial number would skip open ones.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (received_on, user_id, event_id)
) PARTITION BY RANGE (received_on);

CREATE INDEX events_by_user ON events (user_id, "timestamp" DESC);

-- Makes the partition of a day where it is missing. Whoever may write events may call it, without
-- owning the table. Create, then attach: CREATE … PARTITION OF would lock all readers out.
CREATE FUNCTION ensure_events_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    name text := 'events_' || to_char(day, 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('events partition'));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
    EXECUTE format(
        'ALTER TABLE %I ADD CONSTRAINT one_day CHECK (received_on >= %L AND received_on < %L)', name, day, day + 1);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, day, day + 1);
END
$$;
