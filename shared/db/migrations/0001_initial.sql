-- The first schema. Written for PostgreSQL 15 to 18.
-- Tables that are updated hot (tasks, jobs) leave room on each page for HOT updates and are vacuumed early.

CREATE TABLE projects (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    state       text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'running', 'paused', 'finished')),
    settings    jsonb NOT NULL,
    stop_reason text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE classes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    position   int NOT NULL CHECK (position >= 0),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    colour     text NOT NULL CHECK (colour ~ '^#[0-9a-f]{6}$'),
    hotkey     text CHECK (length(hotkey) = 1),
    UNIQUE (project_id, position),
    UNIQUE (project_id, name),
    UNIQUE (project_id, hotkey)
);

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username      text NOT NULL UNIQUE CHECK (username ~ '^[a-z0-9][a-z0-9._@+-]{0,99}$'),
    display_name  text NOT NULL,
    password_hash text NOT NULL,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- Only the SHA-256 of a session's token is kept: who reads this table can't sign in with it.
CREATE TABLE sessions (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    user_id      bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE api_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    prefix       text NOT NULL UNIQUE,
    key_sha256   bytea NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    scopes       text[] NOT NULL CHECK (scopes <@ ARRAY['read', 'ingest', 'label', 'manage'] AND cardinality(scopes) > 0),
    project_id   bigint REFERENCES projects ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE shards (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    number      int NOT NULL,
    image_count int NOT NULL CHECK (image_count > 0),
    state       text NOT NULL DEFAULT 'sealed' CHECK (state IN ('sealed', 'embedded')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, number)
);

CREATE TABLE images (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    filename     text NOT NULL,
    width        int NOT NULL CHECK (width > 0),
    height       int NOT NULL CHECK (height > 0),
    bytes        bigint NOT NULL CHECK (bytes > 0),
    format       text NOT NULL,
    browser_safe boolean NOT NULL DEFAULT true,
    state        text NOT NULL DEFAULT 'stored' CHECK (state IN ('stored', 'ready', 'unreadable')),
    split        text NOT NULL DEFAULT 'pool' CHECK (split IN ('pool', 'holdout')),
    shard_id     bigint REFERENCES shards ON DELETE SET NULL,
    shard_row    int,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CHECK ((shard_id IS NULL) = (shard_row IS NULL)),
    UNIQUE (project_id, sha256)
);
CREATE UNIQUE INDEX images_shard ON images (shard_id, shard_row) WHERE shard_id IS NOT NULL;
CREATE INDEX images_page ON images (project_id, id);
CREATE INDEX images_unsealed ON images (project_id, id) WHERE shard_id IS NULL;
CREATE INDEX images_holdout ON images (project_id, id) WHERE split = 'holdout';

CREATE TABLE rounds (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    number      int NOT NULL CHECK (number >= 0),
    state       text NOT NULL CHECK (state IN ('training', 'scoring', 'selecting', 'labelling', 'done')),
    attempt     int NOT NULL DEFAULT 0,
    labels      int NOT NULL,
    labels_at   timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (project_id, number)
);
-- A project is in at most one round at a time.
CREATE UNIQUE INDEX rounds_current ON rounds (project_id) WHERE state <> 'done';

CREATE TABLE checkpoints (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    round_id     bigint NOT NULL UNIQUE REFERENCES rounds ON DELETE CASCADE,
    key          text NOT NULL UNIQUE,
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    arch         text NOT NULL,
    data_version text NOT NULL,
    metrics      jsonb NOT NULL,
    scored_at    timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX checkpoints_project ON checkpoints (project_id, id);

CREATE TABLE tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    round_id    bigint REFERENCES rounds ON DELETE CASCADE,
    image_id    bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('query', 'holdout')),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'leased', 'done', 'skipped', 'superseded')),
    priority    double precision NOT NULL,
    fence       int NOT NULL DEFAULT 0,
    lease_until timestamptz,
    holder      bigint REFERENCES users,
    skips       int NOT NULL DEFAULT 0,
    strategy    text NOT NULL,
    score       double precision,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'leased') = (lease_until IS NOT NULL)),
    CHECK (state <> 'leased' OR holder IS NOT NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- An image is asked about by at most one live task.
CREATE UNIQUE INDEX tasks_live_image ON tasks (image_id) WHERE state IN ('open', 'leased');
CREATE INDEX tasks_open ON tasks (project_id, priority, id) WHERE state = 'open';
CREATE INDEX tasks_leased ON tasks (lease_until) WHERE state = 'leased';
CREATE INDEX tasks_held ON tasks (holder, project_id) WHERE state = 'leased';
CREATE INDEX tasks_live_round ON tasks (round_id) WHERE state IN ('open', 'leased');
CREATE INDEX tasks_skipped ON tasks (image_id) WHERE state = 'skipped';

CREATE TABLE annotations (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id         bigint NOT NULL REFERENCES tasks ON DELETE CASCADE,
    image_id        bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    project_id      bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    user_id         bigint NOT NULL REFERENCES users,
    class_id        bigint NOT NULL REFERENCES classes,
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    fence           int NOT NULL,
    duration_ms     int CHECK (duration_ms >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    undone_at       timestamptz,
    UNIQUE (user_id, idempotency_key)
);
-- A task is answered once: the database itself refuses a second standing answer.
CREATE UNIQUE INDEX annotations_standing ON annotations (task_id) WHERE undone_at IS NULL;
CREATE INDEX annotations_recent ON annotations (project_id, user_id, id DESC) WHERE undone_at IS NULL;
CREATE INDEX annotations_image ON annotations (image_id);

CREATE TABLE labels (
    image_id      bigint PRIMARY KEY REFERENCES images ON DELETE CASCADE,
    project_id    bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    class_id      bigint NOT NULL REFERENCES classes,
    source        text NOT NULL CHECK (source IN ('human', 'consensus', 'model', 'import')),
    annotation_id bigint REFERENCES annotations ON DELETE SET NULL,
    checkpoint_id bigint REFERENCES checkpoints ON DELETE SET NULL,
    confidence    real CHECK (confidence BETWEEN 0 AND 1),
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX labels_project ON labels (project_id, created_at);

CREATE TABLE jobs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('embed', 'train', 'score', 'select')),
    project_id  bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    round_id    bigint REFERENCES rounds ON DELETE CASCADE,
    unique_key  text NOT NULL UNIQUE,
    payload     jsonb NOT NULL DEFAULT '{}',
    state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'dead', 'cancelled')),
    attempts    int NOT NULL DEFAULT 0,
    run_after   timestamptz NOT NULL DEFAULT now(),
    woken_at    timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz,
    fence       int NOT NULL DEFAULT 0,
    worker      text,
    progress    real NOT NULL DEFAULT 0,
    detail      jsonb NOT NULL DEFAULT '{}',
    error       text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    CHECK ((state = 'running') = (lease_until IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX jobs_queued ON jobs (woken_at) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_unfinished ON jobs (round_id, kind) WHERE state IN ('queued', 'running', 'dead');
CREATE INDEX jobs_project ON jobs (project_id, id DESC);

-- Who did what. Append-only: the triggers refuse anything else.
CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    project_id bigint,
    actor      text NOT NULL,
    kind       text NOT NULL,
    data       jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_project ON events (project_id, id DESC);

CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only';
END
$$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION events_are_append_only();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only();
