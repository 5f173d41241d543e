-- The counts of a message's reactions, as a table of one row: the planner makes it a part of a statement that lists
-- messages, where a call for each message takes more than the rest of the statement.
CREATE FUNCTION chat_reactions_of(message uuid, caller uuid) RETURNS TABLE (counts jsonb) LANGUAGE sql STABLE AS $$
    SELECT jsonb_agg(jsonb_build_object('emoji', spellings[1], 'count', count, 'mine', mine)
                     ORDER BY first, spellings[1])
    FROM (
        SELECT array_agg(emoji ORDER BY created_at, emoji) AS spellings, count(*) AS count,
               bool_or(user_id = caller) AS mine, min(created_at) AS first
        FROM chat_reactions WHERE message_id = message GROUP BY emoji_key(emoji)
    ) AS counted
$$;
-- split
CREATE OR REPLACE FUNCTION chat_reaction_counts(message uuid, caller uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT counts FROM chat_reactions_of(message, caller)
$$;
