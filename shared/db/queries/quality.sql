-- name: answers
-- Every answer that stands, but for reviewers' decisions. To what is known: what was said first, rejected or not.
SELECT a.image_id, a.user_id, c.position AS class, a.duration_ms, a.question_id, t.kind = 'gold' AS gold
FROM annotations a JOIN tasks t ON t.id = a.task_id JOIN classes c ON c.id = a.class_id
WHERE a.project_id = %(project_id)s AND t.kind <> 'adjudication' AND NOT (t.kind = 'gold' AND t.strategy = 'asked_again')
  AND (a.undone_at IS NULL OR (t.kind = 'gold' AND EXISTS (
      SELECT 1 FROM batch_verdicts v WHERE v.annotation_id = a.id AND v.verdict = 'rejected')))
ORDER BY a.id;

-- name: known
-- The answers that are known.
SELECT g.image_id, c.position AS class FROM gold g JOIN classes c ON c.id = g.class_id
WHERE g.project_id = %(project_id)s;

-- name: settled
-- What several people, or a reviewer, decided.
SELECT l.image_id, c.position AS class FROM labels l JOIN classes c ON c.id = l.class_id
LEFT JOIN annotations a ON a.id = l.annotation_id LEFT JOIN tasks t ON t.id = a.task_id
WHERE l.project_id = %(project_id)s AND (l.source = 'consensus' OR t.kind = 'adjudication');

-- name: people
SELECT u.id AS user_id, u.display_name AS name, u.vendor_id, v.display_name AS vendor, m.role, m.pause_reason
FROM users u LEFT JOIN users v ON v.id = u.vendor_id
LEFT JOIN memberships m ON m.user_id = u.id AND m.project_id = %(project_id)s
WHERE u.id = ANY (%(ids)s::bigint[]);

-- name: paused
SELECT user_id FROM memberships WHERE project_id = %(project_id)s AND paused_at IS NOT NULL;

-- name: questions_by_state
SELECT state, count(*) AS questions FROM questions WHERE project_id = %(project_id)s GROUP BY state;

-- name: overlapping
-- Answers to questions that nobody is asked any more: what a consensus is made of.
SELECT a.question_id, a.user_id, c.position AS class
FROM questions q JOIN annotations a ON a.question_id = q.id AND a.undone_at IS NULL
JOIN classes c ON c.id = a.class_id
WHERE q.project_id = %(project_id)s AND q.kind = 'overlap' AND q.state IN ('disagreed', 'resolved')
ORDER BY a.id;

-- name: renew_consensus
-- Not where something else has taken the label's place, but for the model's label where people who audit it disagree. A label keeps its date unless its class changes.
WITH said AS (
    SELECT q.id, q.project_id, q.image_id, c.id AS class_id, t.confidence,
           (SELECT max(a.id) FROM annotations a WHERE a.question_id = q.id AND a.class_id = c.id AND a.undone_at IS NULL)
               AS annotation_id
    FROM unnest(%(question_ids)s::bigint[], %(classes)s::int[], %(confidences)s::real[]) AS t (id, class, confidence)
    JOIN questions q ON q.id = t.id AND q.state IN ('disagreed', 'resolved')
    JOIN classes c ON c.project_id = q.project_id AND c.position = t.class
), put AS (
    INSERT INTO labels (image_id, project_id, class_id, source, annotation_id, confidence, question_id)
    SELECT image_id, project_id, class_id, 'consensus', annotation_id, confidence, id FROM said
    ON CONFLICT (image_id) DO UPDATE SET class_id = excluded.class_id, annotation_id = excluded.annotation_id,
        confidence = excluded.confidence, source = excluded.source, question_id = excluded.question_id,
        checkpoint_id = NULL,
        created_at = CASE WHEN labels.class_id = excluded.class_id AND labels.source = excluded.source THEN labels.created_at ELSE now() END
        WHERE (labels.question_id = excluded.question_id AND labels.source = 'consensus')
           OR (labels.source = 'model' AND labels.filed_by IS NULL AND EXISTS (
               SELECT 1 FROM questions q WHERE q.id = excluded.question_id AND q.state = 'disagreed'))
    RETURNING question_id, class_id
), settled AS (
    UPDATE questions SET state = 'resolved', ended_at = clock_timestamp()
    FROM put WHERE questions.id = put.question_id AND questions.state = 'disagreed'
    RETURNING questions.id
)
SELECT (SELECT count(*) FROM put) AS labels, (SELECT count(*) FROM settled) AS settled,
       (SELECT count(*) FROM put JOIN labels l ON l.question_id = put.question_id AND l.class_id <> put.class_id) AS changed;

-- name: label_origins
-- Whose each label is: that of one person, by how sure consensus is, or neither, where a lead gave or imported it.
SELECT l.image_id, l.confidence, l.source,
       CASE WHEN l.source = 'human' AND t.kind <> 'adjudication' AND t.strategy <> 'correction' THEN a.user_id END AS by
FROM labels l JOIN images i ON i.id = l.image_id AND i.split = 'pool'
LEFT JOIN annotations a ON a.id = l.annotation_id LEFT JOIN tasks t ON t.id = a.task_id
WHERE l.project_id = %(project_id)s AND l.source <> 'model';
