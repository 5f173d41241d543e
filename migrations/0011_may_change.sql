-- Rank or creatorship: `Rule.allows` of the core, for the statements that change a row with a creator.
CREATE FUNCTION may_change(rank integer, creator uuid, caller uuid, min_rank integer, own boolean)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT rank >= min_rank OR own AND creator IS NOT DISTINCT FROM caller
$$;
