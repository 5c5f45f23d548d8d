-- Labels that the model gives, their audit, and the evidence that stopping rules judge by. Expand only: code from before
-- ignores the columns. It would train on labels of the model, so nobody may switch these on until every service is new.

-- audit: a person is asked what the model has labelled already. model_class_id is what the model had said.
ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check;
ALTER TABLE tasks
    ADD CONSTRAINT tasks_kind_check CHECK (kind IN ('query', 'holdout', 'audit')),
    ADD COLUMN model_class_id bigint REFERENCES classes,
    ADD CHECK (kind <> 'audit' OR model_class_id IS NOT NULL);
CREATE INDEX tasks_audit ON tasks (project_id, id) WHERE kind = 'audit';

-- There may be a million labels of the model beside a thousand of people's, and people's are counted all the time.
CREATE INDEX labels_people ON labels (project_id, created_at) WHERE source <> 'model';
CREATE INDEX labels_model ON labels (project_id) WHERE source = 'model';

-- What a job found, for the step that puts those of all shards together.
ALTER TABLE jobs ADD COLUMN result jsonb;

-- What was known of the pool once a round's model had scored it, and what each stopping rule made of it.
ALTER TABLE rounds ADD COLUMN evidence jsonb;

ALTER TABLE projects
    -- People label what is left, most uncertain first, and no more models are trained.
    ADD COLUMN labelling_rest boolean NOT NULL DEFAULT false,
    -- The last audit that failed: the threshold, the target, the counts, and the last task that belonged to it.
    ADD COLUMN audit_failed jsonb;
