-- The first id of a moment: what makes a range of time a range of ids, and so of few partitions.

-- Immutable and without STRICT, so that it is folded into the query that calls it: the bound is there
-- when partitions are chosen. Ids hold milliseconds from 1970 on; what lies before or behind what
-- partitions can hold is the first or the last bound.
CREATE FUNCTION uuid_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    lpad(to_hex(CASE
        WHEN moment < timestamptz '1970-01-01 00:00:00+00' THEN 0
        WHEN moment > timestamptz '9999-01-01 00:00:00+00' THEN 253370764800000
        ELSE floor(extract(epoch FROM moment - timestamptz '1970-01-01 00:00:00+00') * 1000)::bigint
    END), 12, '0') || '00000000000000000000'
)::uuid;

-- Also where new functions are nobody's by default.
GRANT EXECUTE ON FUNCTION uuid_at(timestamptz) TO PUBLIC;
