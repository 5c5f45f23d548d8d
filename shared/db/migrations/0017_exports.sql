-- Exports are jobs like others: a file in the store, made once and kept for a while. Expand only: code from before asks
-- for none, and the check lets in more.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('embed', 'train', 'score', 'select', 'predict', 'map', 'export'));

-- A frozen version of the labels. What it holds is known once it is made; its row stays when its file is deleted.
CREATE TABLE exports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    job_id      bigint NOT NULL UNIQUE REFERENCES jobs ON DELETE CASCADE,
    form        text NOT NULL CHECK (form IN ('csv', 'zip')),
    actor       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- What it is a picture of: all that was committed before.
    moment      timestamptz,
    images      int CHECK (images >= 0),
    labels      int CHECK (labels >= 0),
    -- Where its pieces lie in the store; each is so large but for the last one.
    key         text,
    piece_bytes int CHECK (piece_bytes > 0),
    bytes       bigint CHECK (bytes >= 0),
    sha256      bytea CHECK (length(sha256) = 32),
    finished_at timestamptz,
    expires_at  timestamptz,
    -- From then on nobody begins to download it, and retention deletes its pieces.
    retired_at  timestamptz,
    CHECK (finished_at IS NULL OR num_nulls(moment, images, labels, key, piece_bytes, bytes, sha256, expires_at) = 0)
);
CREATE INDEX exports_project ON exports (project_id, id DESC);
CREATE INDEX exports_kept ON exports (expires_at) WHERE retired_at IS NULL;
CREATE UNIQUE INDEX exports_key ON exports (key);
