-- Which models people chose to use. The one that was promoted last is in use; a roll back takes its mark away, so that the
-- one promoted before is in use again. Expand only: code from before ignores the column.

ALTER TABLE checkpoints ADD COLUMN promoted_at timestamptz;

CREATE INDEX checkpoints_promoted ON checkpoints (project_id, promoted_at DESC) WHERE promoted_at IS NOT NULL;
