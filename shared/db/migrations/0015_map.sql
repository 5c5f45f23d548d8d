-- Maps of the pool are jobs like others, and labels that people let the model give are kept. Expand only: code from before
-- asks for no map and takes a label that somebody filed for one of those that each scoring makes anew.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('embed', 'train', 'score', 'select', 'predict', 'map'));
CREATE INDEX jobs_maps ON jobs (project_id, id) WHERE kind = 'map';

-- Of a label of the model: the person who filed the image under it, so that no later scoring takes it away.
ALTER TABLE labels ADD COLUMN filed_by bigint REFERENCES users;
