#!/bin/sh
# Runs once, when the database is made. The owner makes the schema and the services' accounts; it is no superuser.
set -eu
owner_password=$(cat /run/secrets/postgres_owner)
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
    --set password="$owner_password" <<'SQL'
SET log_statement = 'none';
CREATE ROLE winnow_owner LOGIN CREATEROLE PASSWORD :'password';
ALTER DATABASE winnow OWNER TO winnow_owner;
REVOKE ALL ON DATABASE winnow FROM PUBLIC;
ALTER SCHEMA public OWNER TO winnow_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
