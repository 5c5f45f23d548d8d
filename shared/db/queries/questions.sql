-- name: lock
-- Held while its answers are counted: of two that come at once, the later sees both. An answer that is being written
-- shares the key, so the lock must leave that alone: two would wait for each other.
SELECT q.*, q.state <> 'resolved' OR q.kind = 'second_opinion'
            OR EXISTS (SELECT 1 FROM labels l WHERE l.question_id = q.id) AS gives_label
FROM questions q WHERE q.id = %(id)s FOR NO KEY UPDATE OF q;

-- name: get
SELECT * FROM questions WHERE project_id = %(project_id)s AND id = %(id)s;

-- name: answers
-- Those that stand, in the order given.
SELECT a.id AS annotation_id, a.user_id, a.class_id FROM annotations a
WHERE a.question_id = %(id)s AND a.undone_at IS NULL ORDER BY a.id;

-- name: copies
SELECT count(*) FILTER (WHERE state IN ('open', 'leased')) AS live, count(*) AS asked FROM tasks
WHERE question_id = %(id)s;

-- name: set_state
UPDATE questions SET state = %(state)s, answered = %(answered)s, decided_by = %(decided_by)s::bigint,
    ended_at = CASE WHEN %(state)s::text IN ('asking', 'disagreed') THEN NULL ELSE clock_timestamp() END
WHERE id = %(id)s;

-- name: ask_one_more
-- At the place of the others, under the lowest number that none that stands has; by the project itself where the
-- vendor's batch was cancelled.
INSERT INTO tasks (project_id, round_id, image_id, kind, priority, strategy, score, model_class_id, question_id, copy,
                   most, batch_id)
SELECT t.project_id, t.round_id, t.image_id, t.kind, t.priority, t.strategy, t.score, t.model_class_id,
       t.question_id,
       (SELECT min(n) FROM generate_series(0, t.most - 1) AS n WHERE NOT EXISTS (
           SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.copy = n
           AND s.state IN ('open', 'leased', 'done'))),
       t.most,
       (SELECT b.id FROM batches b WHERE b.id = t.batch_id AND b.state NOT IN ('cancelling', 'cancelled'))
FROM tasks t WHERE t.question_id = %(id)s ORDER BY t.copy LIMIT 1;

-- name: skills
-- How often these people were right where the answer is known. What a lead rejected was still what they said first, and
-- what they said when asked again is not counted.
SELECT t.holder AS user_id, count(*) AS answers, count(*) FILTER (WHERE a.class_id = g.class_id) AS right
FROM tasks t
JOIN annotations a ON a.task_id = t.id AND (a.undone_at IS NULL OR EXISTS (
    SELECT 1 FROM batch_verdicts v WHERE v.annotation_id = a.id AND v.verdict = 'rejected'))
JOIN gold g ON g.image_id = t.image_id
WHERE t.project_id = %(project_id)s AND t.kind = 'gold' AND t.state IN ('done', 'superseded')
  AND t.strategy <> 'asked_again' AND t.holder = ANY (%(user_ids)s::bigint[])
GROUP BY t.holder;

-- name: takes_answers
-- Whether answers still decide: no reviewer has, and nothing has taken its place.
SELECT EXISTS (
    SELECT 1 FROM questions q
    WHERE q.id = %(id)s AND (q.state IN ('asking', 'disagreed') OR (q.state = 'resolved' AND (
        q.kind = 'second_opinion' OR EXISTS (SELECT 1 FROM labels l WHERE l.question_id = q.id))))
) AS found;

-- name: is_audit
-- Whether it asks what the model had labelled.
SELECT EXISTS (SELECT 1 FROM tasks WHERE question_id = %(id)s AND kind = 'audit') AS found;
