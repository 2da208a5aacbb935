-- What clients of PostgreSQL ask of its catalogues, over `__topic` and `__column`, which hold the
-- archive's topics. Columns are PostgreSQL 13's; what has no counterpart here is null or empty.

CREATE VIEW pg.pg_namespace AS
SELECT oid, nspname, 10::BIGINT AS nspowner, NULL::VARCHAR[] AS nspacl FROM (
    VALUES (11::BIGINT, 'pg_catalog'), (2200, 'public'), (13000, 'information_schema')
) AS known (oid, nspname)
UNION ALL
SELECT DISTINCT space_oid, space, 10, NULL::VARCHAR[] FROM pg.__topic WHERE space <> 'public';

CREATE VIEW pg.pg_class AS
SELECT oid, name AS relname, space_oid AS relnamespace, 0::BIGINT AS reltype,
    0::BIGINT AS reloftype, 10::BIGINT AS relowner, 2::BIGINT AS relam, oid AS relfilenode,
    0::BIGINT AS reltablespace, 0 AS relpages, entries::FLOAT AS reltuples, 0 AS relallvisible,
    0::BIGINT AS reltoastrelid, false AS relhasindex, false AS relisshared, 'p' AS relpersistence,
    'r' AS relkind, columns::SMALLINT AS relnatts, 0::SMALLINT AS relchecks, false AS relhasoids,
    false AS relhasrules, false AS relhastriggers, false AS relhassubclass,
    false AS relrowsecurity, false AS relforcerowsecurity, true AS relispopulated,
    'd' AS relreplident, false AS relispartition, 0::BIGINT AS relrewrite, 0 AS relfrozenxid,
    0 AS relminmxid, NULL::VARCHAR[] AS relacl, NULL::VARCHAR[] AS reloptions,
    NULL::VARCHAR AS relpartbound
FROM pg.__topic;

CREATE VIEW pg.pg_attribute AS
SELECT oid AS attrelid, name AS attname, type_oid AS atttypid, -1 AS attstattarget,
    length::SMALLINT AS attlen, number::SMALLINT AS attnum, ndims AS attndims, -1 AS attcacheoff,
    -1 AS atttypmod, false AS attbyval, 'p' AS attstorage, 'd' AS attalign, '' AS attcompression,
    false AS attnotnull, false AS atthasdef, false AS atthasmissing, '' AS attidentity,
    '' AS attgenerated, false AS attisdropped, true AS attislocal, 0 AS attinhcount,
    0::BIGINT AS attcollation, NULL::VARCHAR[] AS attacl, NULL::VARCHAR[] AS attoptions,
    NULL::VARCHAR[] AS attfdwoptions
FROM pg.__column;

CREATE VIEW pg.pg_type AS
SELECT oid, name AS typname, 11::BIGINT AS typnamespace, 10::BIGINT AS typowner,
    length::SMALLINT AS typlen, length > 0 AND length <= 8 AS typbyval, 'b' AS typtype,
    category AS typcategory, category = 'N' AS typispreferred, true AS typisdefined,
    ',' AS typdelim, 0::BIGINT AS typrelid, element AS typelem, array_oid AS typarray,
    name || '_in' AS typinput, name || '_out' AS typoutput, name || '_recv' AS typreceive,
    name || '_send' AS typsend, 'd' AS typalign, 'p' AS typstorage, false AS typnotnull,
    0::BIGINT AS typbasetype, -1 AS typtypmod, 0 AS typndims, 0::BIGINT AS typcollation,
    NULL::VARCHAR AS typdefaultbin, NULL::VARCHAR AS typdefault, NULL::VARCHAR[] AS typacl
FROM pg.__type;

CREATE VIEW pg.pg_database AS
SELECT 16384::BIGINT AS oid, 'archive' AS datname, 10::BIGINT AS datdba, 6 AS encoding,
    'C' AS datcollate, 'C' AS datctype, false AS datistemplate, true AS datallowconn,
    -1 AS datconnlimit, 0::BIGINT AS dattablespace, NULL::VARCHAR[] AS datacl;

CREATE VIEW pg.pg_roles AS
SELECT 10::BIGINT AS oid, 'workbench' AS rolname, false AS rolsuper, true AS rolinherit,
    false AS rolcreaterole, false AS rolcreatedb, true AS rolcanlogin, false AS rolreplication,
    false AS rolbypassrls, -1 AS rolconnlimit, NULL::TIMESTAMPTZ AS rolvaliduntil,
    NULL::VARCHAR[] AS rolconfig;

CREATE VIEW pg.pg_user AS
SELECT 'workbench' AS usename, 10::BIGINT AS usesysid, false AS usecreatedb, false AS usesuper;

CREATE VIEW pg.pg_settings AS
SELECT name, setting, NULL::VARCHAR AS unit, '' AS category, '' AS short_desc FROM pg.__setting;

CREATE VIEW pg.pg_am AS
SELECT 2::BIGINT AS oid, 'heap' AS amname, 'heap_tableam_handler' AS amhandler, 't' AS amtype;

CREATE VIEW pg.pg_tables AS
SELECT space AS schemaname, name AS tablename, 'workbench' AS tableowner,
    NULL::VARCHAR AS tablespace, false AS hasindexes, false AS hasrules, false AS hastriggers,
    false AS rowsecurity
FROM pg.__topic;

-- there are none of these
CREATE VIEW pg.pg_views AS SELECT * FROM (SELECT '' AS schemaname, '' AS viewname, '' AS viewowner, '' AS definition) WHERE false;
CREATE VIEW pg.pg_matviews AS SELECT * FROM (SELECT '' AS schemaname, '' AS matviewname) WHERE false;
CREATE VIEW pg.pg_extension AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS extname, 0::BIGINT AS extnamespace, '' AS extversion) WHERE false;
CREATE VIEW pg.pg_description AS SELECT * FROM (SELECT 0::BIGINT AS objoid, 0::BIGINT AS classoid, 0 AS objsubid, '' AS description) WHERE false;
CREATE VIEW pg.pg_shdescription AS SELECT * FROM (SELECT 0::BIGINT AS objoid, 0::BIGINT AS classoid, '' AS description) WHERE false;
CREATE VIEW pg.pg_attrdef AS SELECT * FROM (SELECT 0::BIGINT AS oid, 0::BIGINT AS adrelid, 0::SMALLINT AS adnum, '' AS adbin) WHERE false;
CREATE VIEW pg.pg_index AS SELECT * FROM (SELECT 0::BIGINT AS indexrelid, 0::BIGINT AS indrelid, 0::SMALLINT AS indnatts, 0::SMALLINT AS indnkeyatts, false AS indisunique, false AS indisprimary, false AS indisexclusion, false AS indimmediate, false AS indisclustered, false AS indisvalid, false AS indcheckxmin, false AS indisready, false AS indislive, false AS indisreplident, [0::SMALLINT] AS indkey, [0::BIGINT] AS indcollation, [0::BIGINT] AS indclass, [0::SMALLINT] AS indoption, '' AS indexprs, '' AS indpred) WHERE false;
CREATE VIEW pg.pg_constraint AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS conname, 0::BIGINT AS connamespace, '' AS contype, false AS condeferrable, false AS condeferred, false AS convalidated, 0::BIGINT AS conrelid, 0::BIGINT AS contypid, 0::BIGINT AS conindid, 0::BIGINT AS conparentid, 0::BIGINT AS confrelid, '' AS confupdtype, '' AS confdeltype, '' AS confmatchtype, false AS conislocal, 0 AS coninhcount, [0::SMALLINT] AS conkey, [0::SMALLINT] AS confkey, '' AS conbin) WHERE false;
CREATE VIEW pg.pg_inherits AS SELECT * FROM (SELECT 0::BIGINT AS inhrelid, 0::BIGINT AS inhparent, 0 AS inhseqno) WHERE false;
CREATE VIEW pg.pg_trigger AS SELECT * FROM (SELECT 0::BIGINT AS oid, 0::BIGINT AS tgrelid, 0::BIGINT AS tgparentid, '' AS tgname, 0::BIGINT AS tgfoid, '' AS tgenabled, false AS tgisinternal, 0::BIGINT AS tgconstraint) WHERE false;
CREATE VIEW pg.pg_policy AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS polname, 0::BIGINT AS polrelid, '' AS polcmd, false AS polpermissive, [0::BIGINT] AS polroles, '' AS polqual, '' AS polwithcheck) WHERE false;
CREATE VIEW pg.pg_statistic_ext AS SELECT * FROM (SELECT 0::BIGINT AS oid, 0::BIGINT AS stxrelid, '' AS stxname, 0::BIGINT AS stxnamespace, [0::SMALLINT] AS stxkeys, [''] AS stxkind, 0 AS stxstattarget) WHERE false;
CREATE VIEW pg.pg_publication AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS pubname, false AS puballtables) WHERE false;
CREATE VIEW pg.pg_publication_rel AS SELECT * FROM (SELECT 0::BIGINT AS oid, 0::BIGINT AS prpubid, 0::BIGINT AS prrelid) WHERE false;
CREATE VIEW pg.pg_collation AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS collname, 0::BIGINT AS collnamespace) WHERE false;
CREATE VIEW pg.pg_proc AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS proname, 0::BIGINT AS pronamespace, 0::BIGINT AS prorettype, '' AS prokind, false AS proretset) WHERE false;
CREATE VIEW pg.pg_auth_members AS SELECT * FROM (SELECT 0::BIGINT AS roleid, 0::BIGINT AS member, 0::BIGINT AS grantor, false AS admin_option) WHERE false;
CREATE VIEW pg.pg_language AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS lanname) WHERE false;
CREATE VIEW pg.pg_opclass AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS opcname, false AS opcdefault) WHERE false;
CREATE VIEW pg.pg_enum AS SELECT * FROM (SELECT 0::BIGINT AS oid, 0::BIGINT AS enumtypid, 0::FLOAT AS enumsortorder, '' AS enumlabel) WHERE false;
CREATE VIEW pg.pg_range AS SELECT * FROM (SELECT 0::BIGINT AS rngtypid, 0::BIGINT AS rngsubtype) WHERE false;
CREATE VIEW pg.pg_sequence AS SELECT * FROM (SELECT 0::BIGINT AS seqrelid, 0::BIGINT AS seqtypid, 0::BIGINT AS seqstart, 0::BIGINT AS seqincrement, 0::BIGINT AS seqmin, 0::BIGINT AS seqmax, 0::BIGINT AS seqcache, false AS seqcycle) WHERE false;
CREATE VIEW pg.pg_depend AS SELECT * FROM (SELECT 0::BIGINT AS classid, 0::BIGINT AS objid, 0 AS objsubid, 0::BIGINT AS refclassid, 0::BIGINT AS refobjid, 0 AS refobjsubid, '' AS deptype) WHERE false;
CREATE VIEW pg.pg_rewrite AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS rulename, 0::BIGINT AS ev_class, '' AS ev_enabled) WHERE false;
CREATE VIEW pg.pg_foreign_table AS SELECT * FROM (SELECT 0::BIGINT AS ftrelid, 0::BIGINT AS ftserver, [''] AS ftoptions) WHERE false;
CREATE VIEW pg.pg_foreign_server AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS srvname) WHERE false;
CREATE VIEW pg.pg_partitioned_table AS SELECT * FROM (SELECT 0::BIGINT AS partrelid, '' AS partstrat) WHERE false;
CREATE VIEW pg.pg_tablespace AS SELECT * FROM (SELECT 0::BIGINT AS oid, '' AS spcname) WHERE false;
CREATE VIEW pg.pg_stat_activity AS SELECT * FROM (SELECT 0::BIGINT AS datid, '' AS datname, 0 AS pid, '' AS usename, '' AS state, '' AS query) WHERE false;

CREATE VIEW pg_information.schemata AS
SELECT 'archive' AS catalog_name, nspname AS schema_name, 'workbench' AS schema_owner
FROM pg.pg_namespace;

CREATE VIEW pg_information.tables AS
SELECT 'archive' AS table_catalog, space AS table_schema, name AS table_name,
    'BASE TABLE' AS table_type, 'NO' AS is_insertable_into, 'NO' AS is_typed
FROM pg.__topic;

CREATE VIEW pg_information.columns AS
SELECT 'archive' AS table_catalog, space AS table_schema, t.name AS table_name,
    c.name AS column_name, number AS ordinal_position, NULL::VARCHAR AS column_default,
    'YES' AS is_nullable, CASE WHEN c.ndims = 1 THEN 'ARRAY' ELSE format_type(type_oid, -1) END AS data_type,
    NULL::INTEGER AS character_maximum_length, NULL::INTEGER AS numeric_precision,
    NULL::INTEGER AS numeric_scale, NULL::INTEGER AS datetime_precision,
    'archive' AS udt_catalog, 'pg_catalog' AS udt_schema, type_name AS udt_name,
    'NO' AS is_identity, 'NEVER' AS is_generated, 'NO' AS is_updatable
FROM pg.__column AS c JOIN pg.__topic AS t ON t.oid = c.oid;

CREATE VIEW pg_information.views AS SELECT * FROM (SELECT '' AS table_catalog, '' AS table_schema, '' AS table_name, '' AS view_definition) WHERE false;
CREATE VIEW pg_information.table_constraints AS SELECT * FROM (SELECT '' AS constraint_schema, '' AS constraint_name, '' AS table_schema, '' AS table_name, '' AS constraint_type) WHERE false;
CREATE VIEW pg_information.key_column_usage AS SELECT * FROM (SELECT '' AS constraint_schema, '' AS constraint_name, '' AS table_schema, '' AS table_name, '' AS column_name, 0 AS ordinal_position) WHERE false;
CREATE VIEW pg_information.referential_constraints AS SELECT * FROM (SELECT '' AS constraint_schema, '' AS constraint_name, '' AS unique_constraint_name) WHERE false;
CREATE VIEW pg_information.routines AS SELECT * FROM (SELECT '' AS routine_schema, '' AS routine_name, '' AS routine_type) WHERE false;
