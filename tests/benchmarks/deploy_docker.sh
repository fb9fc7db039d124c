#!/bin/sh
# The standard deploy as a shell script: the same `docker compose`, `psql`, `pg_dump` and `cp` commands, the checks
# before and after that the runbook's two lists ask for, and nothing around them.
# deploy_docker.sh APP SOURCE APPS_ROOT PLATFORM_FOLDER ENV_FILE
set -eu
app=$1 source=$2 place=$3/$1 platform=$4 env=$5
dump() { docker compose -f "$platform/docker-compose.yml" exec -T postgres pg_dump -h /tmp -U ikoma "$app" > "$place/.ikoma/$1"; }
postgres() { docker compose -f "$platform/docker-compose.yml" exec -T postgres psql -h /tmp -U ikoma -v ON_ERROR_STOP=1 -qAt "$@"; }

# Before the start
docker info > /dev/null
docker compose version > /dev/null
df -P "$3" > /dev/null
postgres -d postgres -c 'SELECT 1' > /dev/null
# Phase 1
mkdir -p "$place/config" "$place/migrations" "$place/seeds" "$place/src" "$place/.ikoma"
# Phase 2
cp "$source/docker-compose.yml" "$place/"
cp -r "$source/migrations/." "$place/migrations/"
cp -r "$source/seeds/." "$place/seeds/"
cp -r "$source/." "$place/src/"
install -m 600 "$env" "$place/.env"
# Phase 3
postgres -d postgres -c "CREATE DATABASE \"$app\""
for kind in migrations seeds; do
    dump "before-$kind.sql" # the way back
    for file in "$place/$kind"/*.sql; do
        postgres -d "$app" --single-transaction < "$file"
    done
done
postgres -d "$app" -c '\dt' > /dev/null
# Phase 4
docker compose -f "$place/docker-compose.yml" config --quiet
docker compose -f "$place/docker-compose.yml" up --detach --wait
docker compose -f "$place/docker-compose.yml" ps > /dev/null
# Phase 5
docker compose -f "$place/docker-compose.yml" images > /dev/null
curl --fail --silent --show-error "http://127.0.0.1:$(sed -n 's/^PORT=//p' "$place/.env")/health"
cp -r "$place/src" "$place/.ikoma/source" # what a rollback puts back
# After the deployment
docker compose -f "$place/docker-compose.yml" ps > /dev/null
postgres -d "$app" -c '\dt' > /dev/null
curl --fail --silent --show-error "http://127.0.0.1:$(sed -n 's/^PORT=//p' "$place/.env")/health"
