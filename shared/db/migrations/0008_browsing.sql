-- Looking through a project: filters that stay quick on a million images, and what imports brought.
-- Expand only: code from before goes on working, and what it writes is found here too.

-- Images by class, source, confidence and annotator, each in order of id.
CREATE INDEX labels_class ON labels (project_id, class_id, image_id);
CREATE INDEX labels_source ON labels (project_id, source, image_id);
CREATE INDEX labels_confidence ON labels (project_id, confidence) WHERE confidence IS NOT NULL;
CREATE INDEX annotations_annotator ON annotations (project_id, user_id, image_id) WHERE undone_at IS NULL;
CREATE INDEX images_format ON images (project_id, format, id);
CREATE INDEX images_unreadable ON images (project_id, id) WHERE state = 'unreadable';
CREATE INDEX tasks_image ON tasks (image_id);
-- An answer that is taken back looks for its label.
CREATE INDEX labels_annotation ON labels (annotation_id) WHERE annotation_id IS NOT NULL;

-- The audit log by who and by what, and what was done to one image among many.
CREATE INDEX events_kind ON events (kind, id DESC);
CREATE INDEX events_actor ON events (actor, id DESC);
CREATE INDEX events_images ON events USING gin ((data -> 'image_ids') jsonb_path_ops) WHERE data ? 'image_ids';

-- What an upload, or a series of them, brought. ``expected`` files were announced; null: nobody knew before.
CREATE TABLE imports (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    actor      text NOT NULL,
    split      text NOT NULL CHECK (split IN ('pool', 'holdout')),
    expected   int CHECK (expected > 0),
    stored     int NOT NULL DEFAULT 0,
    duplicates int NOT NULL DEFAULT 0,
    rejected   int NOT NULL DEFAULT 0,
    rejects    jsonb NOT NULL DEFAULT '[]',
    started_at timestamptz NOT NULL DEFAULT now(),
    heard_at   timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE INDEX imports_project ON imports (project_id, id DESC);

-- The first user, for a stack that has none: the ui may make this one, and no other.
CREATE FUNCTION add_first_user(username text, display_name text, password_hash text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM users) THEN
        INSERT INTO users (username, display_name, password_hash) VALUES ($1, $2, $3) RETURNING id INTO added;
    END IF;
    RETURN added;
END
$$;
