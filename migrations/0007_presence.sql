-- When people were last connected, to the minute. Nothing is written for somebody in ghost mode.

CREATE TABLE last_seen (
    user_id uuid PRIMARY KEY REFERENCES user_profiles (id) ON DELETE CASCADE,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 80);
