#!/bin/sh
# The standard deploy as a shell script: the same `docker compose`, `psql` and `cp` commands, and nothing around them.
# deploy_docker.sh APP SOURCE APPS_ROOT PLATFORM_FOLDER ENV_FILE
set -eu
app=$1 source=$2 place=$3/$1 platform=$4 env=$5
postgres() { docker compose -f "$platform/docker-compose.yml" exec -T postgres psql -h /tmp -U ikoma -v ON_ERROR_STOP=1 -qAt "$@"; }

# Before the start
docker info > /dev/null
postgres -d postgres -c 'SELECT 1' > /dev/null
# Phase 1
mkdir -p "$place/config" "$place/migrations" "$place/seeds" "$place/src"
# Phase 2
cp "$source/docker-compose.yml" "$place/"
cp -r "$source/migrations/." "$place/migrations/"
cp -r "$source/seeds/." "$place/seeds/"
cp -r "$source/." "$place/src/"
install -m 600 "$env" "$place/.env"
# Phase 3
postgres -d postgres -c "CREATE DATABASE \"$app\""
for file in "$place"/migrations/*.sql "$place"/seeds/*.sql; do
    postgres -d "$app" --single-transaction < "$file"
done
postgres -d "$app" -c '\dt' > /dev/null
# Phase 4
docker compose -f "$place/docker-compose.yml" config --quiet
docker compose -f "$place/docker-compose.yml" up --detach --wait
docker compose -f "$place/docker-compose.yml" ps > /dev/null
# Phase 5
docker compose -f "$place/docker-compose.yml" images > /dev/null
curl --fail --silent --show-error "http://127.0.0.1:$(sed -n 's/^PORT=//p' "$place/.env")/health"
