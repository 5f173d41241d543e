-- The member who does a to-do, the time by which it is due, and its place in a list that members sort by hand.
-- `reminded_of` is the due time that a reminder announced; another due time gets another reminder.
ALTER TABLE todos
    ADD COLUMN assignee_id uuid REFERENCES user_profiles (id) ON DELETE SET NULL,
    ADD COLUMN due_at timestamptz,
    ADD COLUMN reminded_of timestamptz,
    ADD COLUMN position double precision CHECK (position BETWEEN -1e9 AND 1e9);
-- split
CREATE INDEX todos_assignee ON todos (assignee_id) WHERE assignee_id IS NOT NULL;
-- split
CREATE INDEX todos_due ON todos (due_at) WHERE status = 'INCOMPLETE' AND deleted_at IS NULL;
-- split

CREATE FUNCTION is_active_member(trip uuid, member uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM trip_memberships WHERE trip_id = trip AND user_id = member AND status = 'ACTIVE')
$$;
-- split

-- The assignee of a to-do, if still a member of its trip.
CREATE FUNCTION todo_assignee(t todos) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN t.assignee_id IS NOT NULL AND is_active_member(t.trip_id, t.assignee_id) THEN t.assignee_id END
$$;
-- split

-- A to-do in events. Fields without a value are absent, as clients of the first version expect.
CREATE FUNCTION todo_json(t todos) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT todo_json(t.id, t.trip_id, t.text, t.status, t.created_by, t.created_at, t.updated_at)
        || jsonb_strip_nulls(jsonb_build_object(
            'assigneeId', todo_assignee(t), 'dueAt', utc_text(t.due_at), 'position', t.position))
$$;
