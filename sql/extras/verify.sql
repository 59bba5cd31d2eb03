-- -------------------------------------------------------------------------------------------------
-- Checking a step after it was taken
-- -------------------------------------------------------------------------------------------------

-- Recomputes the step of an iteration (by default the last one) from the state before it and the
-- uploads, and compares weights, running statistics, moments, copies, changes, norms and digest bit
-- by bit. It writes nothing. The next tick of a running run deletes the inputs, so call it in a
-- paused or finished run, or straight after gan_aggregate.
--   answer   'verified', 'differs', 'damaged' (an input doesn't match its own checksum), 'not kept
--            any more', or 'not repeatable' (the class's own rule fails now)
--   part     what differs or is damaged; shard and element: where, first; stored and recomputed:
--            the two values
CREATE FUNCTION gan_verify(iteration int DEFAULT NULL, run int DEFAULT NULL,
    OUT answer text, OUT part text, OUT shard int, OUT element bigint,
    OUT stored float8, OUT recomputed float8, OUT message text)
    LANGUAGE c SECURITY DEFINER
    SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

-- Says what is wrong with the state of a run's current iteration: a blob that is missing, damaged
-- or not finite, a negative second moment or variance, or a digest other than gan_history's. NULL:
-- nothing is wrong.
CREATE FUNCTION gan_inspect(run int DEFAULT NULL) RETURNS text
    LANGUAGE c
        SECURITY DEFINER
        SET search_path = pg_catalog, @extschema@, pg_temp AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION gan_verify(int, int)
    IS 'Recomputes a step from its inputs, where they are kept, and compares what is stored bit by '
        'bit';
COMMENT ON FUNCTION gan_inspect(int)
    IS 'What is wrong with the state of the current iteration: damage, numbers that are not '
        'finite, another digest; NULL if nothing is';
