-- Many people about one image, images with a known answer, and what follows from how good people are.
-- Code from before goes on reading and answering. It can't open tasks, since the index that it names changes its form:
-- its selections are tried again until every service is new.

-- An image that several people are asked about, each by a task (a copy) of their own.
-- copies: asked at once, and how many must agree where it goes on until they do. most: asked at the very most.
-- answered: answers that stand. decided_by: the reviewer, where one did.
CREATE TABLE questions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    image_id      bigint NOT NULL REFERENCES images ON DELETE CASCADE,
    kind          text NOT NULL DEFAULT 'overlap' CHECK (kind IN ('overlap', 'second_opinion')),
    state         text NOT NULL DEFAULT 'asking'
                  CHECK (state IN ('asking', 'disagreed', 'resolved', 'adjudicated', 'withdrawn')),
    copies        int NOT NULL CHECK (copies BETWEEN 1 AND 100),
    most          int NOT NULL CHECK (most BETWEEN 1 AND 100),
    answered      int NOT NULL DEFAULT 0 CHECK (answered BETWEEN 0 AND most),
    asked_by      bigint REFERENCES users,
    created_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    decided_by    bigint REFERENCES users,
    CHECK (copies <= most),
    CHECK (decided_by IS NULL OR state = 'adjudicated'),
    UNIQUE (id, most)
);
-- An image is in at most one question that isn't settled.
CREATE UNIQUE INDEX questions_live ON questions (image_id) WHERE state IN ('asking', 'disagreed');
CREATE INDEX questions_disagreed ON questions (project_id, id) WHERE state = 'disagreed';
CREATE INDEX questions_project ON questions (project_id, id DESC);

-- copy: 0 to most - 1. gold: the answer is known; adjudication: a reviewer decides.
ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check;
ALTER TABLE tasks
    ADD CONSTRAINT tasks_kind_check
        CHECK (kind IN ('query', 'holdout', 'audit', 'stream', 'gold', 'adjudication')),
    ADD COLUMN question_id bigint,
    ADD COLUMN copy        int NOT NULL DEFAULT 0 CHECK (copy >= 0),
    ADD COLUMN most        int,
    ADD FOREIGN KEY (question_id, most) REFERENCES questions (id, most) ON DELETE CASCADE,
    ADD CHECK ((question_id IS NULL) = (most IS NULL)),
    ADD CHECK (question_id IS NULL OR copy < most);

-- One live task for an image, as before, but for copies and for what is known.
DROP INDEX tasks_live_image;
CREATE UNIQUE INDEX tasks_live_image ON tasks (image_id)
    WHERE state IN ('open', 'leased') AND question_id IS NULL AND kind <> 'gold';
-- A copy is there once, so that no question is answered more often than by its ``most``.
CREATE UNIQUE INDEX tasks_copies ON tasks (question_id, copy)
    WHERE state IN ('open', 'leased', 'done') AND question_id IS NOT NULL;
-- Nobody holds, or has answered, two copies of a question, nor an image with a known answer twice.
CREATE UNIQUE INDEX tasks_one_copy_each ON tasks (question_id, holder)
    WHERE state IN ('leased', 'done') AND question_id IS NOT NULL;
CREATE UNIQUE INDEX tasks_gold_once ON tasks (image_id, holder) WHERE state IN ('leased', 'done') AND kind = 'gold';
CREATE INDEX tasks_gold ON tasks (project_id, holder) WHERE kind = 'gold' AND state = 'done';

-- Nobody's two answers to a question stand.
ALTER TABLE annotations ADD COLUMN question_id bigint REFERENCES questions ON DELETE CASCADE;
CREATE UNIQUE INDEX annotations_once ON annotations (question_id, user_id)
    WHERE undone_at IS NULL AND question_id IS NOT NULL;

-- A label by several answers keeps them all by its question; annotation_id is then one of those that say the same.
ALTER TABLE labels ADD COLUMN question_id bigint REFERENCES questions ON DELETE SET NULL;
CREATE INDEX labels_question ON labels (question_id) WHERE question_id IS NOT NULL;

-- Images whose answer is known, to measure people by.
CREATE TABLE gold (
    image_id   bigint PRIMARY KEY REFERENCES images ON DELETE CASCADE,
    project_id bigint NOT NULL REFERENCES projects ON DELETE CASCADE,
    class_id   bigint NOT NULL REFERENCES classes,
    actor      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gold_project ON gold (project_id, image_id);

-- Answers to gold from before this moment no longer count for the pause: a manager has said so.
ALTER TABLE memberships ADD COLUMN measured_from timestamptz;
