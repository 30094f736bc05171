-- Runs once, as the superuser, when the data volume is empty.
--
--   daybook_owner         owns the database and the schema; used by `daybook migrate` only
--   daybook_worker        group role without login: migrations grant the worker's rights to it
--   daybook_worker_login  what workers log in with; has the rights of daybook_worker, no others
--   daybook_reader        group role without login that may read everything: for reports
--   daybook_registrar     group role without login that may write API keys and accounts, and read nothing else
--
-- The group roles are made here because the owner, who migrates, may not create roles.
--
-- A password that is not set stops the script with a syntax error: psql leaves :'name' as it is.
\getenv owner_password DAYBOOK_OWNER_PASSWORD
\getenv worker_password DAYBOOK_WORKER_PASSWORD

CREATE ROLE daybook_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE daybook_worker NOLOGIN;
CREATE ROLE daybook_reader NOLOGIN;
CREATE ROLE daybook_registrar NOLOGIN;
CREATE ROLE daybook_worker_login LOGIN PASSWORD :'worker_password' IN ROLE daybook_worker;

CREATE DATABASE daybook OWNER daybook_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE daybook FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE daybook TO daybook_worker, daybook_reader, daybook_registrar;
