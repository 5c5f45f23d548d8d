-- name: record
-- Answers where the answer is known, since a manager last let this person go on. What a lead rejected was still what
-- they said first, and what they said when asked again is not counted.
SELECT count(*) AS answers, count(*) FILTER (WHERE a.class_id = g.class_id) AS right
FROM tasks t
JOIN annotations a ON a.task_id = t.id AND (a.undone_at IS NULL OR EXISTS (
    SELECT 1 FROM batch_verdicts v WHERE v.annotation_id = a.id AND v.verdict = 'rejected'))
JOIN gold g ON g.image_id = t.image_id
LEFT JOIN memberships m ON m.project_id = t.project_id AND m.user_id = t.holder
WHERE t.project_id = %(project_id)s AND t.holder = %(user_id)s AND t.kind = 'gold'
  AND t.state IN ('done', 'superseded') AND t.strategy <> 'asked_again'
  AND (m.measured_from IS NULL OR a.created_at >= m.measured_from);

-- name: pause
-- Who works in the project without a row of their own, as a vendor's people do, gets one.
INSERT INTO memberships (project_id, user_id, role, paused_at, pause_reason)
VALUES (%(project_id)s, %(user_id)s, 'annotator', clock_timestamp(), %(reason)s)
ON CONFLICT (project_id, user_id) DO UPDATE SET paused_at = excluded.paused_at, pause_reason = excluded.pause_reason
    WHERE memberships.paused_at IS NULL
RETURNING user_id;

-- name: take_leases_back
-- Nor does an answer under a lease that ran out still count.
UPDATE tasks SET state = 'open', holder = NULL, lease_until = NULL
WHERE project_id = %(project_id)s AND holder = %(user_id)s AND state IN ('leased', 'open')
RETURNING id;

-- name: doubted
-- The answers that still count for a label, alone or with others. What a reviewer decided is left, and so is what is
-- being asked again already.
SELECT a.id, a.task_id, a.image_id, a.question_id
FROM annotations a
JOIN tasks t ON t.id = a.task_id AND t.kind NOT IN ('gold', 'adjudication') AND t.strategy <> 'correction'
LEFT JOIN labels l ON l.image_id = a.image_id
LEFT JOIN questions q ON q.id = a.question_id
WHERE a.project_id = %(project_id)s AND a.user_id = %(user_id)s AND a.undone_at IS NULL AND t.state = 'done'
  AND CASE WHEN q.id IS NULL THEN l.annotation_id = a.id AND l.question_id IS NULL
           WHEN q.state IN ('asking', 'disagreed') THEN true
           ELSE q.state = 'resolved' AND l.question_id = q.id
                AND NOT EXISTS (SELECT 1 FROM questions o WHERE o.image_id = q.image_id
                                AND o.state IN ('asking', 'disagreed')) END
ORDER BY a.id
FOR UPDATE OF a;

-- name: withdraw
UPDATE annotations SET undone_at = clock_timestamp() WHERE id = ANY (%(ids)s::bigint[]);

-- name: remove_labels
DELETE FROM labels
WHERE (annotation_id = ANY (%(ids)s::bigint[]) AND question_id IS NULL)
   OR (question_id = ANY (%(question_ids)s::bigint[]) AND source = 'consensus');

-- name: reopen
-- By the project itself where they were of a vendor's batch that has ended.
UPDATE tasks SET state = 'open', holder = NULL,
    batch_id = (SELECT b.id FROM batches b
                WHERE b.id = tasks.batch_id AND b.state NOT IN ('completed', 'cancelling', 'cancelled'))
WHERE id = ANY (%(task_ids)s::bigint[]);

-- name: never_again
INSERT INTO passes (task_id, user_id, way, reason)
SELECT id, %(user_id)s, 'others', 'paused' FROM unnest(%(task_ids)s::bigint[]) AS id
ON CONFLICT (task_id, user_id) DO NOTHING;

-- name: reopen_questions
UPDATE questions SET state = 'asking', ended_at = NULL,
    answered = (SELECT count(*) FROM annotations a WHERE a.question_id = questions.id AND a.undone_at IS NULL)
WHERE id = ANY (%(question_ids)s::bigint[]);
