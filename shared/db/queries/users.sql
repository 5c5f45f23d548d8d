-- name: insert_user
INSERT INTO users (username, display_name, password_hash, is_admin)
VALUES (%(username)s, %(display_name)s, %(password_hash)s, %(admin)s)
RETURNING *;

-- name: by_username
SELECT * FROM users WHERE username = %(username)s;

-- name: get
SELECT * FROM users WHERE id = %(id)s;

-- name: everybody
SELECT * FROM users WHERE kind <> 'annotator' AND (%(kind)s::text IS NULL OR kind = %(kind)s)
ORDER BY kind, lower(display_name), id;

-- name: insert_vendor
-- A hash that no password has.
INSERT INTO users (username, display_name, password_hash, kind) VALUES (%(username)s, %(display_name)s, '-', 'vendor')
RETURNING *;

-- name: lock_admins
-- Two admins who take each other's right at once must not leave nobody.
SELECT pg_advisory_xact_lock(hashtext('winnow.admins')) AS locked;

-- name: set_admin
UPDATE users SET is_admin = %(admin)s WHERE id = %(id)s;

-- name: set_disabled
UPDATE users SET disabled = %(disabled)s WHERE id = %(id)s;

-- name: any_admin
SELECT EXISTS (SELECT FROM users WHERE is_admin AND NOT disabled) AS found;

-- name: by_subject
SELECT * FROM users WHERE oidc_subject = %(subject)s;

-- name: set_subject
UPDATE users SET oidc_subject = %(subject)s WHERE id = %(id)s;

-- name: set_password
UPDATE users SET password_hash = %(password_hash)s WHERE username = %(username)s RETURNING id;

-- name: insert_session
INSERT INTO sessions (token_sha256, user_id, expires_at, address, agent)
VALUES (%(token_sha256)s, %(user_id)s, now() + make_interval(hours => %(hours)s), %(address)s, %(agent)s)
RETURNING expires_at;

-- name: user_of_session
SELECT u.* FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.token_sha256 = %(token_sha256)s AND s.expires_at > now() AND NOT u.disabled;

-- name: delete_session
DELETE FROM sessions WHERE token_sha256 = %(token_sha256)s;

-- name: delete_sessions_of
DELETE FROM sessions USING users WHERE users.id = sessions.user_id AND users.username = %(username)s;

-- name: delete_expired_sessions
DELETE FROM sessions WHERE expires_at < now();

-- name: insert_key
INSERT INTO api_keys (name, prefix, key_sha256, scopes, project_id, expires_at, user_id, created_by)
VALUES (%(name)s, %(prefix)s, %(key_sha256)s, %(scopes)s::text[], %(project_id)s, %(expires_at)s, %(user_id)s,
        %(created_by)s)
RETURNING *;

-- name: key_by_digest
-- Only keys that are good now.
SELECT * FROM api_keys
WHERE key_sha256 = %(key_sha256)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: touch_key
-- At most once a minute, so that a busy key is no hot row.
UPDATE api_keys SET last_used_at = now()
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- name: revoke_key
UPDATE api_keys SET revoked_at = now() WHERE prefix = %(prefix)s AND revoked_at IS NULL RETURNING *;

-- name: list_keys
SELECT * FROM api_keys ORDER BY id;

-- name: any_user
SELECT EXISTS (SELECT FROM users) AS found;

-- name: names
SELECT id, display_name FROM users WHERE id = ANY (%(ids)s::bigint[]);

-- name: add_first
SELECT add_first_user(%(username)s, %(display_name)s, %(password_hash)s) AS id;

-- name: vendors
SELECT id, display_name FROM users WHERE kind = 'vendor' AND NOT disabled ORDER BY display_name, id;
