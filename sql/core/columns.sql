-- -------------------------------------------------------------------------------------------------
-- What columns of tables are computed by, which an update can't drop
-- -------------------------------------------------------------------------------------------------

-- The middle of some numbers, and the median of their distances from it (MAD): what one outlier
-- moves by no more than a place. NULL of none.
CREATE FUNCTION gan_median(samples float8[]) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
    $$ SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM unnest($1) AS s $$;
CREATE FUNCTION gan_median_deviation(samples float8[]) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        SET search_path = pg_catalog, @extschema@, pg_temp AS
    $$ SELECT gan_median(array_agg(abs(s - gan_median($1)))) FROM unnest($1) AS s $$;

-- A random number for a version of the weights. The number of an iteration doesn't name one: after
-- a failover to a standby that lacks the last steps, or a restore, the same iterations are taken
-- again, with other outcomes.
CREATE FUNCTION gan_nonce() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';

-- What names and lines of text may be made of. By Unicode, whatever the locale: a row that one
-- database accepts can be restored in another. A name is 1 to "longest" letters, digits, spaces,
-- dots, dashes and underscores, and begins with a letter or digit.
CREATE FUNCTION gan_is_name(name text, longest int) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
-- A line has no control characters, none that are invisible, and none that turn the direction of
-- writing.
CREATE FUNCTION gan_is_line(line text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
-- The same for names that would be taken for each other: "Otter", "otter" and "Ot-ter."
CREATE FUNCTION gan_name_key(name text) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
