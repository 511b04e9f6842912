#!/bin/bash
# Gives the roles of documentation/roles.sql their passwords, when the database is made: the image of PostgreSQL runs
# this after them. psql reads the files itself, so that no password is on a command line.
set -euo pipefail
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'END'
\set password `cat /run/secrets/postgres_vigie`
ALTER ROLE vigie PASSWORD :'password';
\set password `cat /run/secrets/postgres_dashboard`
ALTER ROLE vigie_dashboard PASSWORD :'password';
END
