-- Sessions that their owner can see and end, and that end when nobody uses them. Expand only.
ALTER TABLE sessions
    ADD COLUMN id           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    ADD COLUMN last_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN address      text,
    ADD COLUMN agent        text CHECK (length(agent) <= 300);
CREATE INDEX sessions_user ON sessions (user_id);

-- Failed sign-ins of late, so that guessing is slowed down by all processes together and over their restarts.
CREATE TABLE sign_in_failures (
    username text NOT NULL CHECK (length(username) <= 100),
    address  text NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX sign_in_failures_who ON sign_in_failures (username, address, at);
CREATE INDEX sign_in_failures_at ON sign_in_failures (at);

-- Rotation: who looks for the live keys of a name.
CREATE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL;
