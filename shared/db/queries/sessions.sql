-- name: find
-- Whose session it is, if it is good now: neither too old nor unused for too long, and its user not disabled.
SELECT s.id AS session_id, s.last_seen_at < now() - interval '1 minute' AS touch, u.*
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.token_sha256 = %(token_sha256)s AND s.expires_at > now() AND NOT u.disabled
  AND s.last_seen_at > now() - make_interval(mins => %(idle_minutes)s);

-- name: touch
UPDATE sessions SET last_seen_at = now() WHERE id = %(id)s;

-- name: of_user
-- The one used last first.
SELECT id, created_at, last_seen_at, expires_at, address, agent, token_sha256 = %(current)s AS current
FROM sessions
WHERE user_id = %(user_id)s AND expires_at > now() AND last_seen_at > now() - make_interval(mins => %(idle_minutes)s)
ORDER BY last_seen_at DESC, id DESC;

-- name: end_one
DELETE FROM sessions WHERE id = %(id)s AND user_id = %(user_id)s RETURNING id;

-- name: end_all_of
-- All of somebody's, except the one that asks, if it is theirs.
DELETE FROM sessions WHERE user_id = %(user_id)s AND token_sha256 IS DISTINCT FROM %(except)s RETURNING id;

-- name: failures
-- The most recent failed sign-ins of one name from one address, in seconds before now.
SELECT extract(epoch FROM clock_timestamp() - at)::float AS ago FROM sign_in_failures
WHERE username = %(username)s AND address = %(address)s AND at > clock_timestamp() - make_interval(secs => %(window_s)s)
ORDER BY at DESC LIMIT %(limit)s;

-- name: failed
INSERT INTO sign_in_failures (username, address) VALUES (%(username)s, %(address)s) RETURNING at;

-- name: forget_failures
DELETE FROM sign_in_failures WHERE username = %(username)s AND address = %(address)s;

-- name: forget_old_failures
DELETE FROM sign_in_failures WHERE at < clock_timestamp() - make_interval(secs => %(window_s)s);
