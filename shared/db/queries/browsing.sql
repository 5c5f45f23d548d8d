-- name: page
-- Images that pass a filter, in order of id. The driver writes the values into the statement, so that what isn't
-- asked for is gone before the planner looks: what remains of an outer join with a condition is an inner one, and it
-- starts from whichever index leaves the least to read. That a label's image is beyond ``after`` is said twice, since
-- the planner doesn't infer it: pages of a class are then read in order from labels_class, however rare it is.
SELECT i.id, i.filename, i.width, i.height, i.bytes, i.format, i.state, i.split, l.class_id, l.source, l.confidence
FROM images i
LEFT JOIN labels l ON l.image_id = i.id
LEFT JOIN (
    SELECT DISTINCT image_id FROM annotations
    WHERE project_id = %(project_id)s AND user_id = %(annotator)s::bigint AND undone_at IS NULL AND image_id > %(after)s
) AS a ON a.image_id = i.id
LEFT JOIN (
    SELECT DISTINCT image_id FROM tasks
    WHERE project_id = %(project_id)s AND state = ANY (%(task_states)s::text[]) AND image_id > %(after)s
      AND kind NOT IN ('audit', 'gold') -- that the model's label is being checked, or people are, nobody is told
) AS t ON t.image_id = i.id
LEFT JOIN image_tags g ON g.image_id = i.id AND g.tag_id = %(tag_id)s::bigint AND g.image_id > %(after)s
WHERE i.project_id = %(project_id)s AND i.id > %(after)s
  AND (%(tag_id)s::bigint IS NULL OR g.image_id IS NOT NULL)
  AND (NOT %(by_label)s::boolean OR (l.project_id = %(project_id)s AND l.image_id > %(after)s))
  AND (NOT %(unlabelled)s::boolean OR l.image_id IS NULL)
  AND (NOT %(by_task)s::boolean OR t.image_id IS NOT NULL)
  AND (%(annotator)s::bigint IS NULL OR a.image_id IS NOT NULL)
  AND (%(class_id)s::bigint IS NULL OR l.class_id = %(class_id)s::bigint)
  AND (%(source)s::text IS NULL OR l.source = %(source)s::text)
  AND (%(surest)s::real IS NULL OR l.confidence <= %(surest)s::real)
  AND (%(least_sure)s::real IS NULL OR l.confidence >= %(least_sure)s::real)
  AND (%(state)s::text IS NULL OR i.state = %(state)s::text)
  AND (%(split)s::text IS NULL OR i.split = %(split)s::text)
  AND (%(format)s::text IS NULL OR i.format = %(format)s::text)
  AND (%(shortest)s::int IS NULL OR greatest(i.width, i.height) >= %(shortest)s::int)
  AND (%(longest)s::int IS NULL OR greatest(i.width, i.height) <= %(longest)s::int)
  AND (%(among)s::bigint[] IS NULL OR i.id = ANY (%(among)s::bigint[]))
  AND (%(filename)s::text IS NULL OR i.filename ILIKE %(filename)s::text)
ORDER BY i.id LIMIT %(limit)s;

-- name: asked
-- Which of these are being asked about or were given up on.
SELECT image_id, state FROM tasks WHERE image_id = ANY (%(ids)s::bigint[]) AND state IN ('open', 'leased', 'skipped')
  AND kind NOT IN ('audit', 'gold');

-- name: annotators
-- By a loose scan of the index: a step per person, however many answers there are.
WITH RECURSIVE people AS (
    (SELECT user_id FROM annotations WHERE project_id = %(project_id)s AND undone_at IS NULL ORDER BY user_id LIMIT 1)
    UNION ALL
    SELECT (SELECT a.user_id FROM annotations a
            WHERE a.project_id = %(project_id)s AND a.undone_at IS NULL AND a.user_id > people.user_id
            ORDER BY a.user_id LIMIT 1)
    FROM people WHERE people.user_id IS NOT NULL
)
SELECT u.id, u.display_name FROM people JOIN users u ON u.id = people.user_id ORDER BY u.display_name, u.id;

-- name: tasks_of
SELECT t.created_at, t.kind, t.state, t.strategy, t.score, t.skips, r.number AS round
FROM tasks t LEFT JOIN rounds r ON r.id = t.round_id
WHERE t.image_id = %(image_id)s AND NOT (t.kind IN ('audit', 'gold') AND t.state IN ('open', 'leased'))
  AND NOT (t.kind = 'audit' AND EXISTS (SELECT 1 FROM questions q WHERE q.id = t.question_id AND q.state = 'asking'))
ORDER BY t.id DESC LIMIT %(limit)s;

-- name: answers_of
SELECT a.created_at, a.undone_at, a.duration_ms, u.display_name AS annotator, c.name AS class_name, t.strategy
FROM annotations a JOIN users u ON u.id = a.user_id JOIN classes c ON c.id = a.class_id JOIN tasks t ON t.id = a.task_id
WHERE a.image_id = %(image_id)s ORDER BY a.id DESC LIMIT %(limit)s;

-- name: events_of
-- What was done to many images of which this is one.
SELECT e.* FROM events e
WHERE e.data ? 'image_ids' AND e.data -> 'image_ids' @> to_jsonb(%(image_id)s::bigint)
  AND e.project_id = %(project_id)s
ORDER BY e.id DESC LIMIT %(limit)s;

-- name: neighbours
SELECT (SELECT max(id) FROM images WHERE project_id = %(project_id)s AND id < %(image_id)s) AS before,
       (SELECT min(id) FROM images WHERE project_id = %(project_id)s AND id > %(image_id)s) AS after;
