#!/bin/sh
# The emergency rollback as a shell script: the same `docker compose`, `psql` and `git` commands, and nothing around them.
# rollback_docker.sh APP APPS_ROOT PLATFORM_FOLDER BACKUP TAG IMAGE
set -eu
app=$1 place=$2/$1 platform=$3 backup=$4 tag=$5 image=$6
postgres() { docker compose -f "$platform/docker-compose.yml" exec -T postgres psql -h /tmp -U ikoma -v ON_ERROR_STOP=1 -qAt "$@"; }

# Nothing is stopped before the backup is known to be good.
(cd "$(dirname "$backup")" && sha256sum --quiet --check "$backup.sha256")
docker image inspect "$image" > /dev/null
# 1. Stop
docker compose -f "$place/docker-compose.yml" down
# 2. The database: restored into a new one, which takes the old one's name
new=${app}_new_$$ old=${app}_before_$$
postgres -d postgres -c "CREATE DATABASE \"$new\" TEMPLATE template0"
postgres -d "$new" --single-transaction -o /dev/null < "$backup"
postgres -d postgres -c "ALTER DATABASE \"$app\" RENAME TO \"$old\"" -c "ALTER DATABASE \"$new\" RENAME TO \"$app\""
# 3. The code of the release before, and what of it lies beside src/
git -C "$place/src" checkout --quiet "$tag"
rm -f "$place"/migrations/*.sql
cp "$place/src/docker-compose.yml" "$place/"
cp -r "$place/src/migrations/." "$place/migrations/"
docker tag "$image" "$app-web"
# 4. Up
docker compose -f "$place/docker-compose.yml" up --detach --wait --no-build
# 5. Verify
docker compose -f "$place/docker-compose.yml" ps > /dev/null
docker compose -f "$place/docker-compose.yml" images > /dev/null
postgres -d "$app" -c '\dt' > /dev/null
curl --fail --silent --show-error "http://127.0.0.1:$(sed -n 's/^PORT=//p' "$place/.env")/health"
