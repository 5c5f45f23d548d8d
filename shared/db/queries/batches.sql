-- name: insert_batch
INSERT INTO batches (project_id, vendor_id, name, external_id, size, overlap, fill, instructions, deadline, price,
                     price_per, currency)
VALUES (%(project_id)s, %(vendor_id)s, %(name)s, %(external_id)s, %(size)s, %(overlap)s, %(fill)s, %(instructions)s,
        %(deadline)s, %(price)s, %(price_per)s, %(currency)s)
RETURNING *;

-- name: get
SELECT * FROM batches WHERE id = %(id)s;

-- name: lock
SELECT * FROM batches WHERE id = %(id)s FOR NO KEY UPDATE;

-- name: lock_if_free
SELECT * FROM batches WHERE id = %(id)s FOR NO KEY UPDATE SKIP LOCKED;

-- name: page
-- In order of id, of a project or of a vendor. A vendor never sees drafts.
SELECT * FROM batches
WHERE id > %(after)s AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s::bigint)
  AND (%(vendor_id)s::bigint IS NULL OR (vendor_id = %(vendor_id)s::bigint AND state <> 'draft'))
ORDER BY id LIMIT %(limit)s;

-- name: moving
-- Those that somebody must look after.
SELECT id FROM batches WHERE state IN ('open', 'in_progress', 'paused', 'cancelling') ORDER BY id;

-- name: set_state
UPDATE batches SET state = %(state)s, version = version + 1, error = %(error)s,
    opened_at = CASE WHEN %(state)s = 'open' THEN coalesce(opened_at, clock_timestamp()) ELSE opened_at END,
    ended_at = CASE WHEN %(state)s IN ('completed', 'cancelled', 'failed') THEN clock_timestamp() END
WHERE id = %(id)s
RETURNING *;

-- name: set_terms
UPDATE batches SET name = %(name)s, external_id = %(external_id)s, size = %(size)s, overlap = %(overlap)s,
    fill = %(fill)s, instructions = %(instructions)s, deadline = %(deadline)s, price = %(price)s,
    price_per = %(price_per)s, currency = %(currency)s, version = version + 1
WHERE id = %(id)s
RETURNING *;

-- name: set_fill_job
UPDATE batches SET fill_job = %(job_id)s, filled_at = NULL WHERE id = %(id)s;

-- name: set_filled
UPDATE batches SET filled_at = clock_timestamp() WHERE id = %(id)s;

-- name: kept_full
-- Those that a selection fills, in order of id.
SELECT * FROM batches
WHERE project_id = %(project_id)s AND fill = 'selection' AND state IN ('open', 'in_progress', 'paused')
ORDER BY id FOR NO KEY UPDATE;

-- name: counts
-- answered: with an answer that stands. images: those that are asked or were, and were not given up; an image with a
-- known answer is none of the batch's own.
SELECT count(DISTINCT t.image_id) FILTER (WHERE t.kind <> 'gold' AND (
           a.id IS NOT NULL OR t.state IN ('open', 'leased', 'skipped'))) AS images,
       count(*) FILTER (WHERE t.state = 'open') AS open, count(*) FILTER (WHERE t.state = 'leased') AS leased,
       count(a.id) AS answered, count(*) FILTER (WHERE t.state = 'skipped') AS passed_on,
       count(v.annotation_id) AS accepted,
       (SELECT count(*) FROM batch_verdicts r WHERE r.batch_id = %(id)s AND r.verdict = 'rejected') AS rejected
FROM tasks t
LEFT JOIN annotations a ON a.task_id = t.id AND a.undone_at IS NULL
LEFT JOIN batch_verdicts v ON v.annotation_id = a.id AND v.verdict = 'accepted'
WHERE t.batch_id = %(id)s;

-- name: any_live
SELECT EXISTS (SELECT 1 FROM tasks WHERE batch_id = %(id)s AND state IN ('open', 'leased')) AS live;

-- name: next_open
-- The first of the project's own queue, one row for each image. Not what a person wants asked again, or wants later, nor
-- what somebody has begun to answer.
SELECT t.image_id, t.priority, t.strategy, t.score FROM tasks t
WHERE t.project_id = %(project_id)s AND t.state = 'open' AND t.kind = 'query' AND t.batch_id IS NULL AND t.copy = 0
  AND t.strategy <> 'asked_again' AND t.reserved_for IS NULL
  AND (t.question_id IS NULL OR NOT EXISTS (
      SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.state IN ('leased', 'done')))
ORDER BY t.priority, t.id LIMIT %(count)s;

-- name: give_up_open
-- What nobody holds, nor has begun to answer, in batches that a selection fills: a better question may take its place.
WITH closed AS (
    UPDATE tasks SET state = 'superseded'
    WHERE state = 'open' AND kind IN ('query', 'gold') AND strategy <> 'asked_again' AND project_id = %(project_id)s
      AND batch_id IN (SELECT id FROM batches WHERE project_id = %(project_id)s AND fill = 'selection'
                       AND state IN ('open', 'in_progress', 'paused'))
      AND (question_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM tasks s WHERE s.question_id = tasks.question_id AND s.state IN ('leased', 'done')))
    RETURNING batch_id, image_id, kind, priority, strategy, score, question_id, copy
), withdrawn AS (
    UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
    WHERE id IN (SELECT question_id FROM closed) AND state = 'asking'
)
SELECT batch_id, image_id, priority, strategy, score FROM closed
WHERE kind = 'query' AND copy = 0 ORDER BY priority, image_id;

-- name: unasked
-- Those among these images that have no label and that nobody is asked about.
SELECT given.image_id FROM unnest(%(image_ids)s::bigint[]) AS given (image_id)
WHERE NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = given.image_id)
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.image_id = given.image_id AND t.state IN ('open', 'leased')
                  AND t.kind <> 'gold');

-- name: release_open
-- The project's own questions about images that a batch is to ask instead, if nobody has begun to answer them.
WITH closed AS (
    UPDATE tasks SET state = 'superseded'
    WHERE project_id = %(project_id)s AND image_id = ANY (%(image_ids)s::bigint[]) AND state = 'open' AND kind = 'query'
      AND batch_id IS NULL AND strategy <> 'asked_again'
      AND (question_id IS NULL OR NOT EXISTS (
          SELECT 1 FROM tasks s WHERE s.question_id = tasks.question_id AND s.state IN ('leased', 'done')))
    RETURNING question_id
)
UPDATE questions SET state = 'withdrawn', ended_at = clock_timestamp()
WHERE id IN (SELECT question_id FROM closed) AND state = 'asking';

-- name: revoke
-- A step of a cancellation: leases end at once, and what waits is not asked, but for what somebody has answered already:
-- its other copies are the project's own from now on. Returns what each had been.
WITH live AS (
    SELECT id, state, EXISTS (SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.state = 'done') AS begun
    FROM tasks t WHERE batch_id = %(id)s AND state IN ('open', 'leased')
    ORDER BY id LIMIT %(limit)s FOR UPDATE
)
UPDATE tasks SET state = CASE WHEN live.begun THEN 'open' ELSE 'superseded' END,
    batch_id = CASE WHEN live.begun THEN NULL ELSE tasks.batch_id END, fence = fence + 1, lease_until = NULL, holder = NULL
FROM live WHERE tasks.id = live.id
RETURNING live.state AS was, tasks.question_id;

-- name: count_revoked
UPDATE batches SET revoked = revoked + %(revoked)s, dropped = dropped + %(dropped)s WHERE id = %(id)s;

-- name: lease
-- The next open ones of a batch, to one holder. SKIP LOCKED: those who call at once get different ones without waiting.
-- Nothing while the project is paused, nor to somebody who is. Of a question's copies the first open one, and none to who
-- holds, answered or passed on another; an image with a known answer once to each, unless what they said was rejected.
WITH next AS (
    SELECT t.id FROM tasks t
    WHERE t.batch_id = %(id)s AND t.state = 'open'
      AND EXISTS (SELECT 1 FROM projects p WHERE p.id = t.project_id AND p.state IN ('running', 'finished'))
      AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.project_id = t.project_id
                      AND m.user_id IN (%(holder)s, %(vendor_id)s) AND m.paused_at IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM passes p WHERE p.task_id = t.id AND p.user_id = %(holder)s)
      AND (t.question_id IS NULL OR (
          NOT EXISTS (SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.holder = %(holder)s
                      AND s.state IN ('leased', 'done', 'skipped'))
          AND NOT EXISTS (SELECT 1 FROM tasks s WHERE s.question_id = t.question_id AND s.state = 'open'
                          AND s.copy < t.copy)))
      AND (t.kind <> 'gold' OR (
          NOT EXISTS (SELECT 1 FROM tasks s WHERE s.image_id = t.image_id AND s.holder = %(holder)s
                      AND (s.state IN ('leased', 'done', 'skipped')
                           OR (s.state = 'superseded' AND t.strategy <> 'asked_again')))
          AND NOT EXISTS (SELECT 1 FROM tasks s WHERE s.image_id = t.image_id AND s.kind = 'gold' AND s.state = 'open'
                          AND s.batch_id = t.batch_id AND s.id < t.id)))
    ORDER BY t.priority, t.id LIMIT %(count)s
    FOR UPDATE OF t SKIP LOCKED
)
UPDATE tasks SET state = 'leased', holder = %(holder)s, fence = tasks.fence + 1, leased_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(ttl_s)s),
    reserved_for = NULL, reserved_until = NULL, suggested = NULL
FROM next WHERE tasks.id = next.id
RETURNING tasks.*;

-- name: insert_lease
INSERT INTO batch_leases (token, batch_id, holder, task_ids, fences)
VALUES (%(token)s, %(batch_id)s, %(holder)s, %(task_ids)s::bigint[], %(fences)s::int[]);

-- name: get_leases
SELECT l.*, u.external_id AS annotator FROM batch_leases l JOIN users u ON u.id = l.holder
WHERE l.batch_id = %(batch_id)s AND l.token = ANY (%(tokens)s::text[]);

-- name: pass_on
-- What nobody can tell is not asked of the vendor again.
UPDATE tasks SET state = 'skipped', lease_until = NULL
WHERE batch_id = %(id)s AND id = %(task_id)s AND fence = %(fence)s AND holder = %(holder)s
  AND state IN ('leased', 'open')
RETURNING id, question_id;

-- name: was_passed_on
SELECT 1 AS found FROM tasks
WHERE id = %(task_id)s AND batch_id = %(id)s AND state = 'skipped' AND fence = %(fence)s AND holder = %(holder)s;

-- name: shows_image
-- Whether a task of the batch about this image was handed to its vendor.
SELECT EXISTS (
    SELECT 1 FROM tasks WHERE image_id = %(image_id)s AND batch_id = %(id)s AND (state = 'leased' OR holder IS NOT NULL)
) AS shown;

-- name: list_annotations
-- The newest first; withdrawn ones only where they were rejected.
SELECT a.id, a.task_id, a.image_id, i.filename, c.name AS class, a.external_id, a.duration_ms, a.created_at,
       CASE WHEN u.kind = 'annotator' THEN u.external_id END AS annotator, v.verdict, v.reason
FROM annotations a
JOIN tasks t ON t.id = a.task_id AND t.batch_id = %(id)s
JOIN images i ON i.id = a.image_id JOIN classes c ON c.id = a.class_id JOIN users u ON u.id = a.user_id
LEFT JOIN batch_verdicts v ON v.annotation_id = a.id
WHERE a.id < %(before)s AND (a.undone_at IS NULL OR v.verdict = 'rejected')
  AND (%(verdict)s::text IS NULL OR coalesce(v.verdict, 'undecided') = %(verdict)s::text)
ORDER BY a.id DESC LIMIT %(limit)s;

-- name: sample
-- Some that no verdict was given on, spread over the batch the same way each time.
SELECT a.id, a.task_id, a.image_id, i.filename, c.name AS class, a.external_id, a.duration_ms, a.created_at,
       CASE WHEN u.kind = 'annotator' THEN u.external_id END AS annotator, NULL AS verdict, NULL AS reason
FROM annotations a
JOIN tasks t ON t.id = a.task_id AND t.batch_id = %(id)s
JOIN images i ON i.id = a.image_id JOIN classes c ON c.id = a.class_id JOIN users u ON u.id = a.user_id
WHERE a.undone_at IS NULL AND NOT EXISTS (SELECT 1 FROM batch_verdicts v WHERE v.annotation_id = a.id)
ORDER BY hashint8extended(a.id, 0), a.id LIMIT %(limit)s;

-- name: judged
-- The annotations of the batch among these, locked, each with its verdict if it has one.
SELECT a.id, a.task_id, a.image_id, a.external_id, a.question_id, t.kind = 'gold' AS gold,
       a.undone_at IS NULL AS standing, v.verdict, t.priority
FROM annotations a
JOIN tasks t ON t.id = a.task_id AND t.batch_id = %(id)s
LEFT JOIN batch_verdicts v ON v.annotation_id = a.id
WHERE a.id = ANY (%(ids)s::bigint[])
ORDER BY a.id FOR UPDATE OF a;

-- name: put_verdicts
INSERT INTO batch_verdicts (annotation_id, batch_id, verdict, reason, actor)
SELECT given.id, %(id)s, %(verdict)s, %(reason)s, %(actor)s FROM unnest(%(ids)s::bigint[]) AS given (id)
ON CONFLICT (annotation_id) DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason,
    actor = excluded.actor, created_at = now();

-- name: withdraw
UPDATE annotations SET undone_at = clock_timestamp() WHERE id = ANY (%(ids)s::bigint[]) AND undone_at IS NULL;

-- name: withdraw_labels
DELETE FROM labels WHERE annotation_id = ANY (%(ids)s::bigint[]) AND question_id IS NULL;

-- name: free_copies
-- Their places among the copies of their questions are free for others; what is known may be asked of them again.
UPDATE tasks SET state = 'superseded'
WHERE (question_id IS NOT NULL OR kind = 'gold') AND state = 'done'
  AND id IN (SELECT task_id FROM annotations WHERE id = ANY (%(ids)s::bigint[]));

-- name: work
-- By annotator; the vendor itself is null. Standing answers, what was said of them, and the time that was reported.
SELECT CASE WHEN u.kind = 'annotator' THEN u.external_id END AS annotator,
       count(*) FILTER (WHERE a.undone_at IS NULL) AS answered,
       count(*) FILTER (WHERE v.verdict = 'accepted') AS accepted,
       count(*) FILTER (WHERE v.verdict = 'rejected') AS rejected,
       coalesce(sum(a.duration_ms) FILTER (WHERE a.undone_at IS NULL), 0)::float8 / 1000 AS seconds,
       count(a.duration_ms) FILTER (WHERE a.undone_at IS NULL) AS timed,
       max(a.created_at) AS last_at
FROM annotations a
JOIN tasks t ON t.id = a.task_id AND t.batch_id = %(id)s
JOIN users u ON u.id = a.user_id
LEFT JOIN batch_verdicts v ON v.annotation_id = a.id
GROUP BY u.id ORDER BY u.id;

-- name: speeds
-- How long a vendor's people took in a project, by person, and all of them together: the row without a user.
SELECT u.id AS user_id, CASE WHEN u.kind = 'annotator' THEN u.external_id END AS annotator,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY a.duration_ms::float8)
           FILTER (WHERE a.duration_ms > 0 AND a.undone_at IS NULL) / 1000 AS median_s
FROM batches b
JOIN tasks t ON t.batch_id = b.id
JOIN annotations a ON a.task_id = t.id
JOIN users u ON u.id = a.user_id
WHERE b.project_id = %(project_id)s AND b.vendor_id = %(vendor_id)s
GROUP BY GROUPING SETS ((u.id, u.kind, u.external_id), ()) ORDER BY u.id;

-- name: vendors_of
-- Those that have, or had, batches in a project: not counting drafts.
SELECT DISTINCT u.id, u.display_name FROM batches b JOIN users u ON u.id = b.vendor_id
WHERE b.project_id = %(project_id)s AND b.state <> 'draft' ORDER BY u.display_name, u.id;

-- name: places_of_vendors
-- The projects in which vendors have, or had, batches.
SELECT DISTINCT b.vendor_id, p.id, p.name FROM batches b JOIN projects p ON p.id = b.project_id
WHERE b.state <> 'draft' ORDER BY b.vendor_id, p.id;

-- name: add_annotator
SELECT add_annotator(%(vendor_id)s, %(external_id)s) AS id;
