-- Images that arrive while a model is there may be asked as they are scored. Expand only: code from before ignores the
-- column, but can't read tasks of the new kind, so nobody may switch streams on until every service is new.
ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check;
ALTER TABLE tasks ADD CONSTRAINT tasks_kind_check CHECK (kind IN ('query', 'holdout', 'audit', 'stream'));

-- Where a project's stream stands: its threshold, and how many images it has seen and asked.
ALTER TABLE projects ADD COLUMN stream jsonb;
