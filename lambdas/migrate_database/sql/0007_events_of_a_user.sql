-- The user first: an answer looks for the events of one user on the last days. With the day first, the plan for
-- any values read every event of a day to find those of its user.
ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events ADD PRIMARY KEY (user_id, event_id, received_on);
