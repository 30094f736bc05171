-- Runs once, as the superuser, when the data volume is empty.
--
--   daybook_owner         owns the database and the schema; used by `daybook migrate` only
--   daybook_worker        group role without login: migrations grant the worker's rights to it
--   daybook_worker_login  what workers log in with; has the rights of daybook_worker, no others
--   daybook_reader        group role without login that may read everything: for reports
--   daybook_api_login     what the HTTP API reads with; has the rights of daybook_reader, no others
--   daybook_registrar     group role without login that may write API keys and accounts, and read nothing else
--   daybook_registrar_login  what the HTTP API keeps keys with; has the rights of daybook_registrar
--
-- The group roles are made here because the owner, who migrates, may not create roles.
--
-- A password that is not set stops the script with a syntax error: psql leaves :'name' as it is.
\getenv owner_password DAYBOOK_OWNER_PASSWORD
\getenv worker_password DAYBOOK_WORKER_PASSWORD
\getenv api_password DAYBOOK_API_PASSWORD
\getenv registrar_password DAYBOOK_REGISTRAR_PASSWORD

CREATE ROLE daybook_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE daybook_worker NOLOGIN;
CREATE ROLE daybook_reader NOLOGIN;
CREATE ROLE daybook_registrar NOLOGIN;
CREATE ROLE daybook_worker_login LOGIN PASSWORD :'worker_password' IN ROLE daybook_worker;
CREATE ROLE daybook_api_login LOGIN PASSWORD :'api_password' IN ROLE daybook_reader;
CREATE ROLE daybook_registrar_login LOGIN PASSWORD :'registrar_password' IN ROLE daybook_registrar;

CREATE DATABASE daybook OWNER daybook_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE daybook FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE daybook TO daybook_worker, daybook_reader, daybook_registrar;
