# The programs of the newest PostgreSQL server, as Debian's packages install them. The client's package makes the same folders.
bin=$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
bin=${bin%/initdb}
[ -n "$bin" ] || { echo "PostgreSQL is missing: apt-get install postgresql" >&2; exit 127; }

case $1 in
initdb)
    [ -f pgdata/PG_VERSION ] || "$bin/initdb" --pgdata pgdata --username capsule --auth trust --encoding UTF8 --no-instructions
    ;;
postgres)
    # Processes of this capsule reach it by loopback. Its socket would be in its own /tmp, where no other process finds it.
    exec "$bin/postgres" -D pgdata -c listen_addresses=127.0.0.1 -c unix_socket_directories=
    ;;
pg_isready)
    exec "$bin/pg_isready" --host 127.0.0.1 --username capsule --dbname postgres
    ;;
psql)
    exec "$bin/psql" --host 127.0.0.1 --username capsule --dbname postgres --no-psqlrc --quiet --csv --tuples-only \
        --set ON_ERROR_STOP=1
    ;;
esac
