-- What retention deletes from the store is marked here. Expand only: code from before ignores the columns.
-- retired: nobody may begin to use it any more. deleted: its objects are gone. Between the two a process may have died.

ALTER TABLE checkpoints
    ADD COLUMN scores_retired_at  timestamptz,
    ADD COLUMN scores_deleted_at  timestamptz,
    ADD COLUMN weights_retired_at timestamptz,
    ADD COLUMN weights_deleted_at timestamptz,
    ADD CHECK (scores_retired_at IS NOT NULL OR scores_deleted_at IS NULL),
    ADD CHECK (weights_retired_at IS NOT NULL OR weights_deleted_at IS NULL);

-- The models that labels came from are kept.
CREATE INDEX labels_checkpoint ON labels (checkpoint_id) WHERE checkpoint_id IS NOT NULL;
