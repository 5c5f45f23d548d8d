-- Who is told of what happens, by requests to addresses of theirs. Expand only: code from before tells nobody.

-- project_id null: of every project. failing_since: the first of the failures that nothing but failures followed.
CREATE TABLE webhook_endpoints (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      bigint REFERENCES projects ON DELETE CASCADE,
    url             text NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    description     text NOT NULL DEFAULT '' CHECK (length(description) <= 200),
    types           text[] NOT NULL CHECK (cardinality(types) > 0),
    enabled         boolean NOT NULL DEFAULT true,
    disabled_reason text,
    failing_since   timestamptz,
    failed_at       timestamptz,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_endpoints_project ON webhook_endpoints (project_id);

-- Requests are signed with every secret that has not run out, so that receivers can change over in their own time.
CREATE TABLE webhook_secrets (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id bigint NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    secret      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz
);
CREATE INDEX webhook_secrets_endpoint ON webhook_secrets (endpoint_id);

-- The outbox: a row for each endpoint that is told, written with what it tells of. uid is the same in all of these rows,
-- and over all attempts. A claim moves next_at on by its lease and raises the fence.
CREATE TABLE webhook_messages (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id bigint NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    uid         uuid NOT NULL,
    type        text NOT NULL,
    data        jsonb NOT NULL,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts    int NOT NULL DEFAULT 0,
    fence       int NOT NULL DEFAULT 0,
    next_at     timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((state = 'pending') = (finished_at IS NULL))
);
CREATE INDEX webhook_messages_due ON webhook_messages (endpoint_id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_messages_endpoint ON webhook_messages (endpoint_id, id DESC);
CREATE INDEX webhook_messages_finished ON webhook_messages (finished_at) WHERE state <> 'pending';

-- What became of each attempt. status null: no answer came, and error says why.
CREATE TABLE webhook_attempts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id  bigint NOT NULL REFERENCES webhook_messages ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    duration_ms int NOT NULL CHECK (duration_ms >= 0),
    status      int,
    error       text,
    excerpt     text NOT NULL DEFAULT ''
);
CREATE INDEX webhook_attempts_message ON webhook_attempts (message_id);
