/* payorder: orders and payments inside the database. See doc/. */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION payorder" to load this file. \quit

CREATE SCHEMA payorder;
COMMENT ON SCHEMA payorder IS
'orders, payments and the work that they cause (extension payorder)';

/*
 * What this installation is: the salt of the numbers that the kernel makes,
 * and the cluster and database it was made in.  The row is written when it is
 * first needed, not by this script, so that a dump brings its own.
 */
CREATE TABLE payorder.installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    salt bytea NOT NULL CHECK (pg_catalog.octet_length(salt) = 32),
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    noted_by text,
    reason text
);
COMMENT ON TABLE payorder.installation IS
'salt of kernel-made numbers; cluster and database that may send money';
SELECT pg_catalog.pg_extension_config_dump('payorder.installation', '');

/* Refuses what the statement-level triggers below stand for. */
CREATE FUNCTION payorder.refuse_change() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'payorder_refuse_change';
COMMENT ON FUNCTION payorder.refuse_change() IS
'trigger: refuses UPDATE, DELETE or TRUNCATE of rows that only the kernel changes; with an argument, also the kernel''s outside of purge() (SQLSTATE 42501)';
