#!/bin/sh
# versitygw takes its keys from the environment; here they come from the secrets' files.
set -eu
ROOT_ACCESS_KEY=$(cat /run/secrets/s3_access_key)
ROOT_SECRET_KEY=$(cat /run/secrets/s3_secret_key)
export ROOT_ACCESS_KEY ROOT_SECRET_KEY
exec "$(command -v docker-entrypoint.sh || command -v versitygw)" posix /data
