-- What was exported of the posted events, and what is about to be. A plan is committed before anything is
-- written; whoever finds one open repeats it. Transactions from `from_xid` to before `to_xid` had all ended
-- when the plan was made, so its rows are the same each time.
CREATE TABLE event_exports (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A database that was restored counts transactions anew: its exports belong to another epoch.
    system_identifier text NOT NULL,
    epoch text NOT NULL,
    from_xid xid8 NOT NULL,
    to_xid xid8 NOT NULL CHECK (to_xid > from_xid),
    days date[] NOT NULL,
    state text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'done')),
    rows bigint,
    planned_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz
);

CREATE UNIQUE INDEX one_open_export ON event_exports (state) WHERE state = 'planned';

CREATE INDEX events_by_xid ON events (xid);
