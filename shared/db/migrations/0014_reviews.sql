-- What reviewers said of images that had a label. Expand only: code from before ignores it.

-- class_id: what the image is, by who looked again. annotation_id: the correction, where the label was another one; null
-- where it was right. replaced: the row of labels that the correction replaced, so that it can be brought back.
CREATE TABLE reviews (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    image_id        bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    user_id         bigint NOT NULL REFERENCES users,
    class_id        bigint NOT NULL REFERENCES classes,
    annotation_id   bigint REFERENCES annotations ON DELETE SET NULL,
    replaced        jsonb,
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    created_at      timestamptz NOT NULL DEFAULT now(),
    undone_at       timestamptz,
    UNIQUE (user_id, idempotency_key, image_id)
);
CREATE INDEX reviews_project ON reviews (project_id, image_id) WHERE undone_at IS NULL;
