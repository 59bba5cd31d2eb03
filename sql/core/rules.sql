-- -------------------------------------------------------------------------------------------------
-- The rules that combine the results of units
-- -------------------------------------------------------------------------------------------------

CREATE FUNCTION gan_rules(OUT rule text, OUT meaning text, OUT parameter text, OUT usual float8,
    OUT low float8, OUT high float8, OUT parameter_meaning text) RETURNS SETOF record
    LANGUAGE c STABLE AS 'MODULE_PATHNAME';

-- The rules in C and their parameters: a row for each parameter, or one row for a rule that has
-- none.
CREATE VIEW gan_rule AS SELECT * FROM gan_rules();

-- Checks the name of a rule, with its parameters. Returns what it must be instead; NULL if it is
-- right.
CREATE FUNCTION gan_rule_must_be(rule text) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME';

-- How many units an iteration may have with a rule; NULL: any number.
CREATE FUNCTION gan_rule_most_units(rule text) RETURNS int
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME';

-- Why a function can't be a rule (src/extension/combine/sql_rule.c); NULL if it can.
CREATE FUNCTION gan_rule_fault(function oid) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE
            WHEN l.lanname <> 'sql' THEN 'LANGUAGE sql'
            WHEN p.prokind <> 'f' OR p.proretset OR p.prorettype <> 'float8[]'::regtype
                THEN 'a function that RETURNS float8[]'
            WHEN p.provolatile <> 'i' THEN 'IMMUTABLE'
            WHEN p.prosecdef THEN 'SECURITY INVOKER'
            WHEN p.proconfig IS NOT NULL THEN 'without SET' END
        FROM pg_proc p
        JOIN pg_language l ON l.oid = p.prolang
        WHERE p.oid = $1
$$;

-- Finds the function that 'sql:name' names, in any schema. Raises an error unless there is exactly
-- one and it can be a rule.
CREATE FUNCTION gan_rule_function(name text) RETURNS oid
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    parts text[] := parse_ident(name);
    found oid[];
    fault text;
BEGIN
    SELECT array_agg(p.oid ORDER BY p.oid)
        INTO found
        FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proname = parts[cardinality(parts)]
            AND (cardinality(parts) = 1 OR cardinality(parts) = 2 AND n.nspname = parts[1])
            AND p.proargtypes::text = '1022 1022' -- float8[], float8[]
            AND left(n.nspname, 3) <> 'pg_';
    IF found IS NULL THEN
        RAISE EXCEPTION 'there is no function %(float8[], float8[])', name
            USING ERRCODE = 'undefined_function',
                HINT = 'Create it first: docs/rules.md has an example.';
    ELSIF cardinality(found) > 1 THEN
        RAISE EXCEPTION 'there is more than one function %(float8[], float8[])', name
            USING ERRCODE = 'ambiguous_function',
                HINT = format('Name its schema, too: ''sql:%s''.', (SELECT format('%I.%I',
                    p.pronamespace::regnamespace, p.proname) FROM pg_proc p
                        WHERE p.oid = found[1]));
    END IF;
    fault := gan_rule_fault(found[1]);
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION 'function %(float8[], float8[]) can''t be a rule', name
            USING ERRCODE = 'invalid_function_definition',
                HINT = format('It must be %s: docs/rules.md has an example.', fault);
    END IF;
    RETURN found[1];
END
$$;

-- The aggregator as it is stored: a function gets its schema, so that a function of the same name
-- that is created later in another schema is not used instead.
CREATE FUNCTION gan_rule_name(aggregator text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, @extschema@, pg_temp AS $$
    SELECT CASE WHEN aggregator LIKE 'sql:%' THEN (
            SELECT format('sql:%I.%I', n.nspname, p.proname)
                FROM pg_proc p
                JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE p.oid = gan_rule_function(substr(aggregator, 5)))
        ELSE aggregator END
$$;

COMMENT ON VIEW gan_rule IS 'The rules that combine the results of units, and their parameters';
