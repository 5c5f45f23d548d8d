-- What annotators are told, and what they say beside an answer. Expand only: code from before ignores all of it.

ALTER TABLE projects ADD COLUMN guidelines text NOT NULL DEFAULT '' CHECK (length(guidelines) <= 20000);
ALTER TABLE classes ADD COLUMN description text NOT NULL DEFAULT '' CHECK (length(description) <= 2000);

-- Images picked to show what a class looks like. Without any, labelled ones are shown.
CREATE TABLE class_examples (
    class_id bigint NOT NULL REFERENCES classes ON DELETE CASCADE,
    image_id bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    position int NOT NULL CHECK (position >= 0),
    PRIMARY KEY (class_id, image_id)
);

-- reserved_for: somebody wants it later, and others pass over it until reserved_until.
-- suggested: the class that the model's suggestion named, once the holder has been shown it.
ALTER TABLE tasks
    ADD COLUMN reserved_for   bigint,
    ADD COLUMN reserved_until timestamptz,
    ADD COLUMN suggested      bigint;
ALTER TABLE annotations ADD COLUMN suggested bigint;

-- Who handed a task on to others, and never gets it again.
CREATE TABLE passes (
    task_id    bigint NOT NULL REFERENCES tasks ON DELETE CASCADE,
    user_id    bigint NOT NULL REFERENCES users,
    way        text NOT NULL CHECK (way IN ('others', 'cannot_tell')),
    reason     text NOT NULL DEFAULT '' CHECK (length(reason) <= 200),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, user_id)
);

-- Something about an image that a lead should see.
CREATE TABLE flags (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    image_id        bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    user_id         bigint NOT NULL REFERENCES users,
    note            text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    created_at      timestamptz NOT NULL DEFAULT now(),
    resolved_at     timestamptz,
    resolved_by     text,
    UNIQUE (user_id, idempotency_key)
);
CREATE INDEX flags_project ON flags (project_id, id DESC);
CREATE INDEX flags_open ON flags (project_id, id DESC) WHERE resolved_at IS NULL;
