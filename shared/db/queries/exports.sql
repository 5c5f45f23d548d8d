-- name: insert
INSERT INTO exports (project_id, job_id, form, actor) VALUES (%(project_id)s, %(job_id)s, %(form)s, %(actor)s)
RETURNING id;

-- name: get
SELECT e.*, j.state AS job_state, j.progress, j.error, e.expires_at < clock_timestamp() AS over
FROM exports e JOIN jobs j ON j.id = e.job_id
WHERE e.id = %(id)s AND (%(project_id)s::bigint IS NULL OR e.project_id = %(project_id)s::bigint);

-- name: of_job
SELECT e.*, j.state AS job_state, j.progress, j.error, e.expires_at < clock_timestamp() AS over
FROM exports e JOIN jobs j ON j.id = e.job_id
WHERE e.job_id = %(job_id)s;

-- name: page
-- The newest first; kept: those alone that are being made, failed, or can be downloaded.
SELECT e.*, j.state AS job_state, j.progress, j.error, e.expires_at < clock_timestamp() AS over
FROM exports e JOIN jobs j ON j.id = e.job_id
WHERE e.project_id = %(project_id)s AND e.id < %(before)s
  AND (NOT %(kept)s OR (e.retired_at IS NULL AND (e.expires_at IS NULL OR e.expires_at >= clock_timestamp())))
ORDER BY e.id DESC LIMIT %(limit)s;

-- name: waiting
-- One like it that nobody has begun to make: what it will show is the pool of a later moment than this.
SELECT e.id FROM exports e JOIN jobs j ON j.id = e.job_id
WHERE e.project_id = %(project_id)s AND e.form = %(form)s AND e.actor = %(actor)s AND e.retired_at IS NULL
  AND j.state = 'queued'
ORDER BY e.id LIMIT 1;

-- name: count_kept
SELECT count(*) AS kept FROM exports
WHERE project_id = %(project_id)s AND retired_at IS NULL AND (expires_at IS NULL OR expires_at >= clock_timestamp());

-- name: finish
UPDATE exports SET moment = %(moment)s, images = %(images)s, labels = %(labels)s, key = %(key)s,
    piece_bytes = %(piece_bytes)s, bytes = %(bytes)s, sha256 = %(sha256)s, finished_at = clock_timestamp(),
    expires_at = clock_timestamp() + make_interval(secs => %(keep_s)s)
WHERE job_id = %(job_id)s AND finished_at IS NULL AND retired_at IS NULL
RETURNING id;

-- name: retire
UPDATE exports SET retired_at = clock_timestamp() WHERE id = %(id)s AND retired_at IS NULL
RETURNING job_id;

-- name: retire_old
-- What has been kept for long enough, and what failed so long ago that nobody will have it tried again.
WITH old AS (
    UPDATE exports e SET retired_at = clock_timestamp() FROM jobs j
    WHERE j.id = e.job_id AND e.retired_at IS NULL
      AND (e.expires_at < clock_timestamp()
           OR (j.state = 'dead' AND j.finished_at < clock_timestamp() - make_interval(secs => %(keep_s)s)))
    RETURNING e.job_id
)
UPDATE jobs SET state = 'cancelled' WHERE id IN (SELECT job_id FROM old) AND state = 'dead';

-- name: surplus
-- Of these attempts at exports, those whose pieces nobody will download: no kept export is made of them, and they aren't
-- under way.
SELECT a.key FROM unnest(%(keys)s::text[], %(job_ids)s::bigint[], %(fences)s::int[]) AS a (key, job_id, fence)
WHERE NOT EXISTS (
    SELECT 1 FROM exports e WHERE e.key = a.key AND e.retired_at IS NULL AND e.expires_at >= clock_timestamp()
)
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = a.job_id AND j.state = 'running' AND j.fence = a.fence);
