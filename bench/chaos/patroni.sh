#!/usr/bin/env bash
# Three nodes of Patroni with etcd and a synchronous standby, under the load of bench/chaos, while the leader is killed, switched over and frozen.
# It needs Go and Debian; what else it needs it installs, as root: postgresql, patroni, etcd-server.
# Usage: bash chaos/patroni.sh [pq|pgx]      (in bench/)
set -euo pipefail
cd "$(dirname "$0")/.."
driver=${1:-pq}
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -n 1)" 2>/dev/null || true)
if ! command -v patroni >/dev/null || ! command -v etcd >/dev/null || [ ! -x "$bin/postgres" ]; then
  apt-get update -q >/dev/null
  # The packages would start services of their own.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends postgresql patroni etcd-server python3-etcd python3-psycopg2 >/dev/null
  rm -f /usr/sbin/policy-rc.d
  bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/postgres | tail -n 1)")
fi

dir=$(mktemp -d /tmp/chaos-patroni-XXXX)
chmod 755 "$dir"
as() { exec setpriv --reuid=postgres --regid=postgres --clear-groups env -i PATH="/usr/bin:/bin:$bin" HOME="$dir" LC_ALL=C.UTF-8 "$@"; }
chown postgres: "$dir" # as replaces its shell, so that $! is the program: call it in the background
pids=()
stop() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  sleep 2
  for n in 1 2 3; do
    [ -f "$dir/d$n/postmaster.pid" ] && kill -CONT "$(head -1 "$dir/d$n/postmaster.pid")" 2>/dev/null && kill -QUIT "$(head -1 "$dir/d$n/postmaster.pid")" 2>/dev/null || true
  done
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  sleep 1
  rm -rf "$dir"
}
trap stop EXIT

as etcd --data-dir "$dir/etcd" --listen-client-urls http://127.0.0.1:2391 --advertise-client-urls http://127.0.0.1:2391 \
  --listen-peer-urls http://127.0.0.1:2392 --initial-advertise-peer-urls http://127.0.0.1:2392 \
  --initial-cluster default=http://127.0.0.1:2392 --log-level error >"$dir/etcd.log" 2>&1 &
pids+=($!)
password=$(head -c 18 /dev/urandom | base64 | tr -d '+/=')
for n in 1 2 3; do
  cat >"$dir/n$n.yml" <<Y
scope: chaos
name: n$n
restapi: {listen: "127.0.0.1:820$n", connect_address: "127.0.0.1:820$n"}
etcd3: {host: "127.0.0.1:2391"}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 5
    retry_timeout: 5
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    postgresql:
      parameters: {max_connections: 80, wal_keep_size: 128MB, shared_buffers: 32MB, fsync: "off"}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, {wal-segsize: "1"}]
  pg_hba: ["local all all trust", "host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"]
postgresql:
  listen: 127.0.0.1:620$n
  connect_address: 127.0.0.1:620$n
  data_dir: $dir/d$n
  bin_dir: $bin
  pgpass: $dir/pgpass$n
  authentication:
    superuser: {username: postgres, password: $password}
    replication: {username: postgres, password: $password}
  parameters: {unix_socket_directories: $dir}
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
Y
  chown postgres: "$dir/n$n.yml"
done
node() { as patroni "$dir/n$1.yml" >>"$dir/n$1.log" 2>&1 & pids+=($!); echo $! >"$dir/n$1.pid"; }
for n in 1 2 3; do node $n; done

cat >"$dir/lib.sh" <<L
leader() { for n in 1 2 3; do curl -sf -m 1 -o /dev/null http://127.0.0.1:820\$n/primary && echo \$n && return; done; return 0; }
another() { for i in \$(seq 600); do n=\$(leader); [ -n "\$n" ] && [ "\$n" != "\$1" ] && return; sleep 0.1; done; }
members() { curl -s -m 1 http://127.0.0.1:820\${1:-1}/cluster | python3 -c 'import json,sys; print(sum(m["state"] in ("running","streaming") for m in json.load(sys.stdin)["members"]))' 2>/dev/null || echo 0; }
L
. "$dir/lib.sh"
for _ in $(seq 900); do [ "$(members)" = 3 ] && [ -n "$(leader)" ] && break; sleep 0.1; done
[ "$(members)" = 3 ] || { tail -n 5 "$dir"/*.log; exit 1; }
url="postgres://postgres:$password@127.0.0.1:6201,127.0.0.1:6202,127.0.0.1:6203/postgres?sslmode=disable"

# run NAME COMMAND: the command is the fault, and over when another node leads. The time until Patroni sees the fault is not the store's.
run() { go run ./chaos -name "$1" -driver "$driver" -url "$url" -times 1 -every 8s -v -command ". $dir/lib.sh; l=\$(leader); $2"; }
back() { for n in 1 2 3; do kill -0 "$(cat "$dir/n$n.pid")" 2>/dev/null || node $n; done; for _ in $(seq 600); do [ "$(members "$(leader)")" = 3 ] && break; sleep 0.1; done; sleep 6; }
run "Patroni: the leader's machine is lost" "kill -9 \$(cat $dir/n\$l.pid) \$(head -1 $dir/d\$l/postmaster.pid); another \$l"
back
run "Patroni: switchover" "curl -s -m 60 -X POST -d '{\"leader\":\"n'\$l'\"}' http://127.0.0.1:820\$l/switchover; another \$l"
back
run "Patroni: the leader's server is frozen, Patroni with it" "p=\$(head -1 $dir/d\$l/postmaster.pid); kill -STOP \$(cat $dir/n\$l.pid) \$p \$(ps -o pid= --ppid \$p); another \$l"
