-- name: insert_tasks
-- Only images that are still unlabelled and not already asked about, but for those whose answer is known. Each has as
-- many copies, one after another, so that by no id or order one can be told from another.
WITH wanted AS (
    SELECT t.* FROM unnest(%(image_ids)s::bigint[], %(kinds)s::text[], %(priorities)s::double precision[],
                           %(strategies)s::text[], %(scores)s::double precision[])
        AS t (image_id, kind, priority, strategy, score)
    WHERE t.kind = 'gold'
       OR (NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = t.image_id)
           AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = t.image_id
                           AND q.state IN ('asking', 'disagreed'))
           AND (%(copies)s = 1 OR NOT EXISTS (SELECT 1 FROM tasks o WHERE o.image_id = t.image_id
                                              AND o.state IN ('open', 'leased') AND o.kind <> 'gold')))
), asked AS (
    INSERT INTO questions (project_id, image_id, copies, most)
    SELECT %(project_id)s, image_id, %(copies)s, %(most)s FROM wanted WHERE kind <> 'gold' AND %(copies)s > 1
    ON CONFLICT (image_id) WHERE state IN ('asking', 'disagreed') DO NOTHING
    RETURNING id, image_id, most
)
INSERT INTO tasks (project_id, round_id, image_id, kind, priority, strategy, score, question_id, copy, most, batch_id)
SELECT %(project_id)s, %(round_id)s, w.image_id, w.kind, w.priority, w.strategy, w.score, q.id, n.copy, q.most,
       %(batch_id)s
FROM wanted w
LEFT JOIN asked q ON q.image_id = w.image_id AND w.kind <> 'gold'
CROSS JOIN generate_series(0, %(copies)s - 1) AS n (copy)
WHERE w.kind = 'gold' OR %(copies)s = 1 OR q.id IS NOT NULL
ORDER BY w.priority, w.image_id, n.copy
ON CONFLICT (image_id) WHERE state IN ('open', 'leased') AND question_id IS NULL AND kind <> 'gold' DO NOTHING
RETURNING id;

-- name: draw_random
-- Random images of the pool that have no label and that nobody is asked about.
SELECT i.id FROM images i
WHERE i.project_id = %(project_id)s AND i.split = 'pool' AND i.state = 'ready'
  AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.id)
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = i.id AND t.state IN ('open', 'leased', 'skipped'))
  AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.image_id = i.id AND q.state IN ('asking', 'disagreed'))
ORDER BY hashint8extended(i.id, %(seed)s), i.id LIMIT %(count)s;

-- name: supersede_open
-- A new selection replaces the questions that nobody holds, but those that a person wants asked again, those that
-- somebody has begun to answer, and those of batches, which shared.batches replaces.
WITH closed AS (
    UPDATE tasks SET state = 'superseded'
    WHERE project_id = %(project_id)s AND state = 'open' AND kind IN ('query', 'gold') AND strategy <> 'asked_again'
      AND batch_id IS NULL AND (question_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM tasks s WHERE s.question_id = tasks.question_id AND s.state IN ('leased', 'done')))
    RETURNING question_id
), withdrawn AS (
    UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
    WHERE id IN (SELECT question_id FROM closed) AND state = 'asking'
)
SELECT count(*) AS closed FROM closed;

-- name: raise_live
-- Ahead of everything else.
UPDATE tasks SET priority = -1, strategy = 'asked_again'
WHERE project_id = %(project_id)s AND image_id = ANY (%(ids)s::bigint[]) AND state IN ('open', 'leased')
  AND kind <> 'gold'
RETURNING image_id;

-- name: held
-- What an annotator already holds, so that a reloaded page goes on with it.
SELECT * FROM tasks
WHERE project_id = %(project_id)s AND holder = %(user_id)s AND state = 'leased' AND lease_until > clock_timestamp()
  AND (kind IN ('query', 'gold') OR NOT %(only_queries)s::boolean) AND id <> ALL (%(without)s::bigint[])
  AND batch_id IS NULL
ORDER BY priority, id LIMIT %(count)s;

-- name: lease
-- The next open tasks, to one annotator. SKIP LOCKED: concurrent annotators take different rows without waiting.
-- Not what they handed on to others, nor what somebody else wants later, and nothing to who is paused. Of a question's
-- copies the first open one, and none to who holds, answered or handed on another. An answer that is known is asked at
-- its place among the others and never alone, lest who comes late is asked little else. Nothing of a vendor's batch.
WITH next AS (
    SELECT t.id FROM tasks t
    WHERE t.project_id = %(project_id)s AND t.state = 'open' AND t.batch_id IS NULL
      AND EXISTS (SELECT 1 FROM projects p WHERE p.id = %(project_id)s AND p.state = 'running')
      AND (t.reserved_for IS NULL OR t.reserved_for = %(user_id)s OR t.reserved_until < clock_timestamp())
      AND NOT EXISTS (SELECT 1 FROM passes p WHERE p.task_id = t.id AND p.user_id = %(user_id)s)
      AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.project_id = %(project_id)s AND m.user_id = %(user_id)s
                      AND m.paused_at IS NOT NULL)
      AND (t.kind IN ('query', 'gold') OR NOT %(only_queries)s::boolean) AND t.id <> ALL (%(without)s::bigint[])
      AND (t.question_id IS NULL OR (
          NOT EXISTS (SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.holder = %(user_id)s
                      AND s.state IN ('leased', 'done'))
          AND NOT EXISTS (SELECT 1 FROM tasks s JOIN passes p ON p.task_id = s.id AND p.user_id = %(user_id)s
                          WHERE s.question_id = t.question_id)
          AND NOT EXISTS (SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.state = 'open'
                          AND s.copy < t.copy AND (s.reserved_for IS NULL OR s.reserved_for = %(user_id)s
                                                   OR s.reserved_until < clock_timestamp()))))
      AND (t.kind <> 'gold' OR (
          NOT EXISTS (SELECT 1 FROM tasks s WHERE s.image_id = t.image_id AND s.holder = %(user_id)s
                      AND s.state IN ('leased', 'done'))
          AND NOT EXISTS (SELECT 1 FROM tasks s WHERE s.image_id = t.image_id AND s.kind = 'gold' AND s.state = 'open'
                          AND s.batch_id IS NULL AND s.id < t.id)
          AND t.priority + %(window)s >= (SELECT min(o.priority) FROM tasks o WHERE o.project_id = %(project_id)s
                                          AND o.state = 'open' AND o.kind <> 'gold')))
    ORDER BY t.priority, t.id
    LIMIT %(count)s
    FOR UPDATE OF t SKIP LOCKED
)
UPDATE tasks SET state = 'leased', holder = %(user_id)s, fence = tasks.fence + 1, leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    reserved_for = NULL, reserved_until = NULL, suggested = NULL
FROM next WHERE tasks.id = next.id
RETURNING tasks.*;

-- name: lease_plain
-- As lease, in half the time, most of which is planning: nothing if a copy or a known answer is among the next ones.
WITH next AS (
    SELECT t.id, t.question_id IS NULL AND t.kind <> 'gold' AS plain FROM tasks t
    WHERE t.project_id = %(project_id)s AND t.state = 'open' AND t.batch_id IS NULL
      AND EXISTS (SELECT 1 FROM projects p WHERE p.id = %(project_id)s AND p.state = 'running')
      AND (t.reserved_for IS NULL OR t.reserved_for = %(user_id)s OR t.reserved_until < clock_timestamp())
      AND NOT EXISTS (SELECT 1 FROM passes p WHERE p.task_id = t.id AND p.user_id = %(user_id)s)
      AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.project_id = %(project_id)s AND m.user_id = %(user_id)s
                      AND m.paused_at IS NOT NULL)
      AND (t.kind IN ('query', 'gold') OR NOT %(only_queries)s::boolean) AND t.id <> ALL (%(without)s::bigint[])
    ORDER BY t.priority, t.id
    LIMIT %(count)s
    FOR UPDATE OF t SKIP LOCKED
)
UPDATE tasks SET state = 'leased', holder = %(user_id)s, fence = tasks.fence + 1, leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
    reserved_for = NULL, reserved_until = NULL, suggested = NULL
FROM next WHERE tasks.id = next.id AND (SELECT bool_and(plain) FROM next)
RETURNING tasks.*;

-- name: renew
UPDATE tasks SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM unnest(%(ids)s::bigint[], %(fences)s::int[]) AS mine (id, fence)
WHERE tasks.id = mine.id AND tasks.fence = mine.fence AND tasks.holder = %(user_id)s AND tasks.state = 'leased'
  AND tasks.project_id = %(project_id)s
RETURNING tasks.id;

-- name: release
UPDATE tasks SET state = 'open', holder = NULL, lease_until = NULL
FROM unnest(%(ids)s::bigint[], %(fences)s::int[]) AS mine (id, fence)
WHERE tasks.id = mine.id AND tasks.fence = mine.fence AND tasks.holder = %(user_id)s AND tasks.state = 'leased'
RETURNING tasks.id;

-- name: reopen_expired
-- The last holder is kept: until somebody else leases the task, an answer that comes late still counts.
UPDATE tasks SET state = 'open', lease_until = NULL
WHERE id IN (
    SELECT id FROM tasks WHERE state = 'leased' AND lease_until < clock_timestamp()
    ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED
)
RETURNING id, project_id, fence;

-- name: get
SELECT * FROM tasks WHERE project_id = %(project_id)s AND id = %(id)s;

-- name: finish
-- Only for who leased it last: once another has leased it, the fence has grown.
UPDATE tasks SET state = 'done', lease_until = NULL
WHERE project_id = %(project_id)s AND id = %(id)s AND fence = %(fence)s AND holder = %(user_id)s
  AND state IN ('leased', 'open')
RETURNING *;

-- name: skip
-- To the end of the queue; after so many skips it is given up on. To want it later oneself is no skip.
UPDATE tasks SET skips = skips + CASE WHEN %(mine)s::boolean THEN 0 ELSE 1 END, lease_until = NULL, holder = NULL,
    reserved_for = CASE WHEN %(mine)s::boolean THEN holder END,
    reserved_until = CASE WHEN %(mine)s::boolean THEN clock_timestamp() + make_interval(secs => %(reserve_s)s) END,
    state = CASE WHEN skips + 1 >= %(max_skips)s AND NOT %(mine)s::boolean THEN 'skipped' ELSE 'open' END,
    priority = 1 + (SELECT coalesce(max(priority), 0) FROM tasks o
                    WHERE o.project_id = %(project_id)s AND o.state = 'open')
WHERE project_id = %(project_id)s AND id = %(id)s AND fence = %(fence)s AND holder = %(user_id)s
  AND state IN ('leased', 'open')
RETURNING *;

-- name: insert_pass
INSERT INTO passes (task_id, user_id, way, reason) VALUES (%(task_id)s, %(user_id)s, %(way)s, %(reason)s)
ON CONFLICT (task_id, user_id) DO NOTHING;

-- name: give_up_if_all_passed
-- Nobody is left who could be asked: all have handed it on, or another copy of it, or answered one.
UPDATE tasks SET state = 'skipped'
WHERE id = %(id)s AND state = 'open'
  AND NOT EXISTS (
      SELECT 1 FROM users u WHERE NOT u.disabled
      AND NOT EXISTS (SELECT 1 FROM passes p WHERE p.task_id = %(id)s AND p.user_id = u.id)
      AND NOT EXISTS (SELECT 1 FROM tasks s LEFT JOIN passes p ON p.task_id = s.id AND p.user_id = u.id
                      WHERE s.question_id = tasks.question_id
                        AND (p.user_id IS NOT NULL OR (s.holder = u.id AND s.state IN ('leased', 'done')))))
RETURNING *;

-- name: list_passes
-- What people could not tell, the newest first.
SELECT p.task_id, p.reason, p.created_at, t.image_id, u.username AS by_name, t.state
FROM passes p JOIN tasks t ON t.id = p.task_id JOIN users u ON u.id = p.user_id
WHERE t.project_id = %(project_id)s AND p.way = 'cannot_tell'
ORDER BY p.created_at DESC LIMIT %(limit)s;

-- name: note_suggested
-- The holder is being shown what the model thinks.
UPDATE tasks SET suggested = shown.class_id
FROM unnest(%(ids)s::bigint[], %(fences)s::int[], %(class_ids)s::bigint[]) AS shown (id, fence, class_id)
WHERE tasks.id = shown.id AND tasks.fence = shown.fence AND tasks.holder = %(user_id)s AND tasks.state = 'leased';

-- name: take_back
-- An answered task returns to the annotator who answered it.
UPDATE tasks SET state = 'leased', fence = fence + 1, leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
WHERE id = %(id)s AND state = 'done' AND holder = %(user_id)s
RETURNING *;

-- name: insert_annotation
-- No row for a class of another project.
INSERT INTO annotations (task_id, image_id, project_id, user_id, class_id, idempotency_key, fence, duration_ms,
                         suggested, question_id, external_id)
SELECT %(task_id)s, %(image_id)s, %(project_id)s, %(user_id)s, c.id, %(key)s, %(fence)s, %(duration_ms)s::int,
       %(suggested)s::bigint, %(question_id)s::bigint, %(external_id)s::text
FROM classes c WHERE c.id = %(class_id)s AND c.project_id = %(project_id)s
RETURNING *;

-- name: annotation_by_key
SELECT * FROM annotations WHERE user_id = %(user_id)s AND idempotency_key = %(key)s;

-- name: last_annotations
SELECT * FROM annotations
WHERE project_id = %(project_id)s AND user_id = %(user_id)s AND undone_at IS NULL AND id < %(before)s
ORDER BY id DESC LIMIT %(limit)s;

-- name: undo_annotation
UPDATE annotations SET undone_at = clock_timestamp()
WHERE project_id = %(project_id)s AND id = %(id)s AND user_id = %(user_id)s AND undone_at IS NULL
RETURNING *;

-- name: count_live
SELECT count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'leased') AS leased,
       min(lease_until) AS next_expiry
FROM tasks WHERE project_id = %(project_id)s AND state IN ('open', 'leased');

-- name: count_kept
-- Live tasks that a new selection leaves as they are.
SELECT count(*) AS kept FROM tasks t
WHERE project_id = %(project_id)s
  AND (state = 'leased'
       OR (state = 'open' AND (kind NOT IN ('query', 'gold') OR strategy = 'asked_again'
           OR batch_id IN (SELECT id FROM batches WHERE project_id = %(project_id)s AND fill <> 'selection')
           OR EXISTS (SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.state IN ('leased', 'done')))));

-- name: was_asked
-- Superseded questions were replaced before anybody was asked. Each part has an index of its own.
SELECT EXISTS (SELECT 1 FROM tasks WHERE image_id = %(image_id)s AND state IN ('open', 'leased') AND kind <> 'gold')
    OR EXISTS (SELECT 1 FROM tasks WHERE image_id = %(image_id)s AND state = 'skipped')
    OR EXISTS (SELECT 1 FROM annotations WHERE image_id = %(image_id)s AND undone_at IS NULL) AS asked;

-- name: any_live
-- Whether a round has anything to wait for. Nothing waits for an answer that is known, nor for what a batch was filled
-- with outside of rounds.
SELECT EXISTS (
    SELECT 1 FROM tasks
    WHERE project_id = %(project_id)s AND state IN ('open', 'leased') AND kind <> 'gold'
      AND (batch_id IS NULL OR round_id IS NOT NULL)
) AS live;

-- name: any_live_in_batches
SELECT EXISTS (
    SELECT 1 FROM batches b JOIN tasks t ON t.batch_id = b.id AND t.state IN ('open', 'leased') AND t.kind <> 'gold'
    WHERE b.project_id = %(project_id)s
) AS live;

-- name: user_count
SELECT count(*) AS answered FROM annotations
WHERE project_id = %(project_id)s AND user_id = %(user_id)s AND undone_at IS NULL;

-- name: answered_since
SELECT count(*) AS answered FROM annotations
WHERE project_id = %(project_id)s AND undone_at IS NULL AND created_at >= %(since)s;
