-- Predictions for callers are jobs like others. Expand only: code from before asks for none, and the check lets in more.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('embed', 'train', 'score', 'select', 'predict'));

-- Their rows don't stay: retention deletes them by their age.
CREATE INDEX jobs_predictions ON jobs (finished_at) WHERE kind = 'predict';
