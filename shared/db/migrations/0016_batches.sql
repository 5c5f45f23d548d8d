-- Batches: questions that an outside vendor answers, and what becomes of its answers. Expand only: code from before
-- ignores the columns. It would hand tasks of batches to anybody, so nobody may open one until every service is new.

CREATE TABLE batches (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    vendor_id    bigint NOT NULL REFERENCES users,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    external_id  text CHECK (length(external_id) BETWEEN 1 AND 200),
    state        text NOT NULL DEFAULT 'draft' CHECK (state IN (
        'draft', 'open', 'in_progress', 'paused', 'completed', 'cancelling', 'cancelled', 'failed')),
    -- Images to be answered, and by how many people each.
    size         int NOT NULL CHECK (size BETWEEN 1 AND 1000000),
    overlap      int NOT NULL DEFAULT 1 CHECK (overlap BETWEEN 1 AND 25),
    -- selection: from the project's own queue, kept full; random, or a strategy by name: chosen once.
    fill         text NOT NULL DEFAULT 'selection' CHECK (length(fill) BETWEEN 1 AND 100),
    instructions text NOT NULL DEFAULT '' CHECK (length(instructions) <= 20000),
    deadline     timestamptz,
    price        numeric(12, 4) CHECK (price >= 0),
    price_per    text CHECK (price_per IN ('label', 'hour')),
    currency     text CHECK (currency ~ '^[A-Z]{3}$'),
    -- Grows with every change that somebody makes.
    version      int NOT NULL DEFAULT 1,
    fill_job     bigint REFERENCES jobs ON DELETE SET NULL,
    filled_at    timestamptz,
    error        text,
    -- What a cancellation did so far.
    revoked      int NOT NULL DEFAULT 0,
    dropped      int NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    opened_at    timestamptz,
    ended_at     timestamptz,
    UNIQUE (project_id, name),
    CHECK ((price IS NULL) = (price_per IS NULL) AND (price IS NULL) = (currency IS NULL))
);
CREATE INDEX batches_vendor ON batches (vendor_id, id);
CREATE INDEX batches_moving ON batches (id) WHERE state IN ('open', 'in_progress', 'paused', 'cancelling');

ALTER TABLE tasks ADD COLUMN batch_id bigint REFERENCES batches;
CREATE INDEX tasks_batch ON tasks (batch_id, state) WHERE batch_id IS NOT NULL;
CREATE INDEX tasks_batch_open ON tasks (batch_id, priority, id) WHERE batch_id IS NOT NULL AND state = 'open';

-- The caller's own name for an answer.
ALTER TABLE annotations ADD COLUMN external_id text CHECK (length(external_id) BETWEEN 1 AND 200);

-- What one call handed out: a token for many tasks, each with the fence of its lease.
CREATE TABLE batch_leases (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token      text NOT NULL UNIQUE,
    batch_id   bigint NOT NULL REFERENCES batches ON DELETE CASCADE,
    holder     bigint NOT NULL REFERENCES users,
    task_ids   bigint[] NOT NULL,
    fences     int[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (cardinality(task_ids) = cardinality(fences))
);
CREATE INDEX batch_leases_batch ON batch_leases (batch_id);

-- What a manager made of a vendor's answer.
CREATE TABLE batch_verdicts (
    annotation_id bigint PRIMARY KEY REFERENCES annotations ON DELETE CASCADE,
    batch_id      bigint NOT NULL REFERENCES batches ON DELETE CASCADE,
    verdict       text NOT NULL CHECK (verdict IN ('accepted', 'rejected')),
    reason        text NOT NULL DEFAULT '' CHECK (length(reason) <= 2000),
    actor         text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX batch_verdicts_batch ON batch_verdicts (batch_id);

-- Requests that may be sent twice, by the key that sent them: what was answered is answered again for a day.
CREATE TABLE idempotent_requests (
    api_key_id     bigint NOT NULL REFERENCES api_keys ON DELETE CASCADE,
    key            text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),
    -- While it is in the future the request is under way; a process that dies lets it pass.
    busy_until     timestamptz,
    status         int,
    headers        jsonb,
    body           bytea,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (api_key_id, key),
    CHECK ((busy_until IS NULL) = (status IS NOT NULL))
);
CREATE INDEX idempotent_requests_age ON idempotent_requests (created_at);

-- One of a vendor's people, made on first use. No password has the hash '!': such a user can't sign in.
CREATE FUNCTION add_annotator(vendor bigint, external text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    found bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM users u WHERE u.id = vendor AND u.kind = 'vendor') THEN
        RAISE EXCEPTION 'user % is no vendor', vendor USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO users (username, display_name, password_hash, kind, vendor_id, external_id)
    VALUES ('vendor' || vendor || '.' || md5(external), external, '!', 'annotator', vendor, external)
    ON CONFLICT (vendor_id, external_id) DO NOTHING;
    SELECT u.id INTO found FROM users u WHERE u.vendor_id = vendor AND u.external_id = external;
    RETURN found;
END
$$;
