-- name: queue
-- What waits for a reviewer, but for what this one has answered.
SELECT q.* FROM questions q
WHERE q.project_id = %(project_id)s AND q.state = 'disagreed' AND q.id > %(after)s
  AND NOT EXISTS (SELECT 1 FROM annotations a WHERE a.image_id = q.image_id AND a.user_id = %(user_id)s
                  AND a.undone_at IS NULL)
ORDER BY q.id LIMIT %(limit)s;

-- name: waiting
SELECT count(*) AS waiting FROM questions WHERE project_id = %(project_id)s AND state = 'disagreed';

-- name: answers
-- Those to a question that stand, and of a second opinion those that its label comes from.
SELECT a.class_id, u.id AS user_id, u.display_name AS by_name, a.created_at
FROM annotations a JOIN users u ON u.id = a.user_id
JOIN questions q ON q.id = %(id)s
LEFT JOIN labels l ON l.image_id = q.image_id AND q.kind = 'second_opinion'
WHERE a.image_id = q.image_id AND a.undone_at IS NULL
  AND (a.question_id = q.id OR a.id = l.annotation_id OR a.question_id = l.question_id)
ORDER BY a.id;

-- name: has_answered
SELECT EXISTS (SELECT 1 FROM annotations WHERE image_id = %(image_id)s AND user_id = %(user_id)s
               AND undone_at IS NULL) AS found;

-- name: insert_task
-- A question to the reviewer, who has answered it.
INSERT INTO tasks (project_id, image_id, kind, state, priority, holder, strategy)
VALUES (%(project_id)s, %(image_id)s, 'adjudication', 'done', 0, %(user_id)s, 'adjudication')
RETURNING *;

-- name: close_copies
UPDATE tasks SET state = 'superseded', lease_until = NULL, holder = NULL
WHERE question_id = %(id)s AND state IN ('open', 'leased');

-- name: ask_second_opinions
-- About images with a label by people that are in no question. Whoever answered before, and who asks, isn't asked.
WITH asked AS (
    INSERT INTO questions (project_id, image_id, kind, copies, most, asked_by)
    SELECT l.project_id, l.image_id, 'second_opinion', 1, 1, %(user_id)s
    FROM labels l JOIN images i ON i.id = l.image_id AND i.state <> 'unreadable'
    WHERE l.project_id = %(project_id)s AND l.image_id = ANY (%(image_ids)s::bigint[]) AND l.source <> 'model'
      AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = l.image_id AND t.state IN ('open', 'leased')
                      AND t.kind <> 'gold')
    ON CONFLICT (image_id) WHERE state IN ('asking', 'disagreed') DO NOTHING
    RETURNING id, project_id, image_id
), opened AS (
    INSERT INTO tasks (project_id, image_id, kind, priority, strategy, question_id, copy, most)
    SELECT a.project_id, a.image_id, CASE i.split WHEN 'holdout' THEN 'holdout' ELSE 'query' END, -1, 'asked_again',
           a.id, 0, 1
    FROM asked a JOIN images i ON i.id = a.image_id
    RETURNING id, image_id
), barred AS (
    INSERT INTO passes (task_id, user_id, way, reason)
    SELECT DISTINCT o.id, who.user_id, 'others', 'second opinion'
    FROM opened o
    CROSS JOIN LATERAL (
        SELECT n.user_id FROM annotations n WHERE n.image_id = o.image_id UNION SELECT %(user_id)s::bigint
    ) AS who
)
SELECT image_id FROM asked ORDER BY image_id;

-- name: opinions
-- The newest first.
SELECT * FROM questions
WHERE project_id = %(project_id)s AND kind = 'second_opinion' AND id < %(before)s
ORDER BY id DESC LIMIT %(limit)s;
