#!/bin/sh
# Postgres wants the key to be its own and nobody else's to read; a secret's file belongs to whoever made it.
set -eu
install -d -o postgres -g postgres -m 700 /var/lib/postgresql/tls
install -o postgres -g postgres -m 600 /run/secrets/tls_key /var/lib/postgresql/tls/key
install -o postgres -g postgres -m 644 /run/secrets/tls_certificate /var/lib/postgresql/tls/certificate
exec docker-entrypoint.sh "$@" -c ssl=on -c ssl_cert_file=/var/lib/postgresql/tls/certificate \
    -c ssl_key_file=/var/lib/postgresql/tls/key -c ssl_min_protocol_version=TLSv1.2
