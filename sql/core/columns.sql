-- -------------------------------------------------------------------------------------------------
-- Functions that table columns and CHECKs depend on: an update can't drop them
-- -------------------------------------------------------------------------------------------------

-- The median of some numbers, and the median of their distances from it (MAD). One outlier moves
-- either by at most one place. NULL if there are no numbers.
CREATE FUNCTION gan_median(samples float8[]) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
    $$ SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s) FROM unnest($1) AS s $$;
CREATE FUNCTION gan_median_deviation(samples float8[]) RETURNS float8
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        SET search_path = pg_catalog, @extschema@, pg_temp AS
    $$ SELECT gan_median(array_agg(abs(s - gan_median($1)))) FROM unnest($1) AS s $$;

-- A random number that names a version of the weights. The iteration's number is not enough: after
-- a failover to a standby that lacks the last steps, or after a restore, the same iterations are
-- computed again with different results.
CREATE FUNCTION gan_nonce() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME';

-- Which characters names and lines of text may contain. The rules follow Unicode and not the
-- locale, so a row that one database accepts can be restored in another. A name is 1 to "longest"
-- letters, digits, spaces, dots, dashes and underscores, and begins with a letter or digit.
CREATE FUNCTION gan_is_name(name text, longest int) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
-- A line has no control characters, no invisible characters, and none that change the direction of
-- writing.
CREATE FUNCTION gan_is_line(line text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
-- The same key for names that look alike: "Otter", "otter" and "Ot-ter."
CREATE FUNCTION gan_name_key(name text) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
