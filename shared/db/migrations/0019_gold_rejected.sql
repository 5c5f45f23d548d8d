-- What a lead rejects of a vendor's answers to what is known frees its task, so that it can be asked again, and is still
-- how good somebody is: their record is found by both states.
CREATE INDEX tasks_gold_answered ON tasks (project_id, holder) WHERE kind = 'gold' AND state IN ('done', 'superseded');
