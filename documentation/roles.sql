-- Roles and a database for Vigie. A superuser runs this once: psql --file roles.sql postgres
-- Passwords are set afterwards with \password, which sends no plain text; or there are none: see database.md.

-- The processor's: owns its database and may do nothing else.
CREATE ROLE vigie LOGIN;
-- Reads, and only that; has no login of its own.
CREATE ROLE vigie_reader NOLOGIN;
-- One who reads: a dashboard, a person.
CREATE ROLE vigie_dashboard LOGIN IN ROLE vigie_reader;
ALTER ROLE vigie_dashboard SET default_transaction_read_only = on;
ALTER ROLE vigie_dashboard SET statement_timeout = '30s';

CREATE DATABASE vigie OWNER vigie;
-- By default everybody may connect to a database and make temporary tables.
REVOKE ALL ON DATABASE vigie FROM PUBLIC;
GRANT CONNECT ON DATABASE vigie TO vigie_reader;
