-- name: begin
-- Whoever inserts the row, or takes it over from a process that died, may do the request.
INSERT INTO idempotent_requests (api_key_id, key, request_sha256, busy_until)
VALUES (%(api_key_id)s, %(key)s, %(sha256)s, clock_timestamp() + make_interval(secs => %(busy_s)s))
ON CONFLICT (api_key_id, key) DO UPDATE SET busy_until = excluded.busy_until
    WHERE idempotent_requests.busy_until < clock_timestamp()
      AND idempotent_requests.request_sha256 = excluded.request_sha256
RETURNING key;

-- name: get
SELECT request_sha256, status, headers, body FROM idempotent_requests
WHERE api_key_id = %(api_key_id)s AND key = %(key)s;

-- name: renew
UPDATE idempotent_requests SET busy_until = clock_timestamp() + make_interval(secs => %(busy_s)s)
WHERE api_key_id = %(api_key_id)s AND key = %(key)s AND busy_until IS NOT NULL;

-- name: finish
UPDATE idempotent_requests SET busy_until = NULL, status = %(status)s, headers = %(headers)s::jsonb, body = %(body)s
WHERE api_key_id = %(api_key_id)s AND key = %(key)s AND busy_until IS NOT NULL;

-- name: forget
DELETE FROM idempotent_requests WHERE api_key_id = %(api_key_id)s AND key = %(key)s AND busy_until IS NOT NULL;

-- name: forget_old
DELETE FROM idempotent_requests WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotent_requests
    WHERE created_at < now() - make_interval(hours => %(hours)s) LIMIT 100
));
