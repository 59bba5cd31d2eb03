-- -------------------------------------------------------------------------------------------------
-- What gan_doctor's checks share: how settings are shown, programs and commands
-- -------------------------------------------------------------------------------------------------

-- A list to read: the first few, and how many more there are.
CREATE FUNCTION gan_some_of(names text[]) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_to_string(names[:3], ', ')
        || CASE
            WHEN cardinality(names) > 3 THEN format(' and %s more', cardinality(names) - 3)
            ELSE '' END
$$;

-- A setting as people write it: 128 MB, not 16384 times 8kB.
CREATE FUNCTION gan_readable_setting(value text, unit text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN unit IS NULL THEN value
                WHEN unit ~ '^[0-9]*(B|kB|MB)$'
                    AND value ~ '^[1-9]' THEN pg_size_pretty(value::bigint * pg_size_bytes(CASE
                        WHEN unit ~ '^[0-9]' THEN unit
                        ELSE '1' || unit END))
                ELSE value || ' ' || unit END
$$;

-- A program of the server's with its full path: Debian has most of them outside the PATH.
CREATE FUNCTION gan_server_program(program text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF has_function_privilege('pg_config()', 'EXECUTE') THEN
        RETURN (SELECT c.setting || '/' || program FROM pg_config() c WHERE c.name = 'BINDIR');
    END IF;
    RETURN program;
END
$$;

-- The command that starts, stops or restarts this server. Debian calls its clusters "15/main".
CREATE FUNCTION gan_server_command(action text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE
        WHEN current_setting('cluster_name') ~ '^[0-9]+/[A-Za-z0-9_.-]+$'
            THEN format('sudo pg_ctlcluster %s %s',
            replace(current_setting('cluster_name'), '/', ' '), action)
                ELSE format('sudo -u postgres %s %s -D %s', gan_server_program('pg_ctl'), action,
                    coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'),
                        'DATA')) END
$$;

CREATE FUNCTION gan_restart_remedy() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT '-- then restart the server: ' || gan_server_command('restart')
$$;

-- One command for all preloaded libraries, the present and the missing ones: of two commands the
-- second would undo the first.
CREATE FUNCTION gan_preload_command() RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('ALTER SYSTEM SET shared_preload_libraries = %s;',
        string_agg(quote_literal(library), ', ' ORDER BY place))
    FROM (SELECT btrim(l.library) AS library, min(l.place) AS place
          FROM (SELECT k.library, k.place
              FROM pg_settings s,
                  string_to_table(s.setting, ',') WITH ORDINALITY AS k (library, place)
              WHERE s.name = 'shared_preload_libraries'
                UNION ALL SELECT 'gannsfriends', 1000) AS l
          WHERE btrim(l.library) <> '' GROUP BY btrim(l.library)) AS wanted
$$;

-- The memory of the machine in MB; NULL if it can't be read, because the caller is not a superuser
-- or the system is not Linux.
CREATE FUNCTION gan_machine_memory() RETURNS float8
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN substring(pg_read_file('/proc/meminfo') FROM 'MemTotal: +([0-9]+)')::float8 / 1024;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;
