-- When each field of an entity that clients edit last changed, for writes that name the version they are based on. A field
-- without a time has not changed since this migration.
ALTER TABLE trips ADD COLUMN field_times jsonb NOT NULL DEFAULT '{}';
-- split
ALTER TABLE todos ADD COLUMN field_times jsonb NOT NULL DEFAULT '{}';
-- split
ALTER TABLE polls ADD COLUMN field_times jsonb NOT NULL DEFAULT '{}';
-- split
ALTER TABLE documents ADD COLUMN field_times jsonb NOT NULL DEFAULT '{}';
-- split
ALTER TABLE user_profiles ADD COLUMN field_times jsonb NOT NULL DEFAULT '{}';
-- split

-- The arguments are the fields.
CREATE FUNCTION note_field_times() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := to_jsonb(OLD);
    after  jsonb := to_jsonb(NEW);
BEGIN
    NEW.field_times := OLD.field_times || (
        SELECT coalesce(jsonb_object_agg(field, NEW.updated_at), '{}') FROM unnest(TG_ARGV) AS field
        WHERE before -> field IS DISTINCT FROM after -> field);
    RETURN NEW;
END
$$;
-- split
CREATE TRIGGER trips_note_times BEFORE UPDATE ON trips FOR EACH ROW WHEN (OLD.updated_at <> NEW.updated_at)
EXECUTE FUNCTION note_field_times(
    'name', 'description', 'destination_place_id', 'destination_address', 'destination_name', 'destination_latitude',
    'destination_longitude', 'start_date', 'end_date', 'status', 'timezone');
-- split
CREATE TRIGGER todos_note_times BEFORE UPDATE ON todos FOR EACH ROW WHEN (OLD.updated_at <> NEW.updated_at)
EXECUTE FUNCTION note_field_times('text', 'status', 'assignee_id', 'due_at', 'position');
-- split
CREATE TRIGGER polls_note_times BEFORE UPDATE ON polls FOR EACH ROW WHEN (OLD.updated_at <> NEW.updated_at)
EXECUTE FUNCTION note_field_times('question');
-- split
CREATE TRIGGER documents_note_times BEFORE UPDATE ON documents FOR EACH ROW WHEN (OLD.updated_at <> NEW.updated_at)
EXECUTE FUNCTION note_field_times('type', 'name', 'description', 'metadata');
-- split
CREATE TRIGGER profiles_note_times BEFORE UPDATE ON user_profiles FOR EACH ROW WHEN (OLD.updated_at <> NEW.updated_at)
EXECUTE FUNCTION note_field_times(
    'username', 'first_name', 'last_name', 'avatar_url', 'location_privacy_preference');
-- split

-- Whether a write would overwrite changes that its writer has not seen: a field that it sets got another value after
-- `base`, or `base` is no version of this entity.
CREATE FUNCTION is_overtaken(stored jsonb, base timestamptz, wanted jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT base > (stored ->> 'updated_at')::timestamptz OR EXISTS (
        SELECT FROM jsonb_each(wanted) AS field
        WHERE (stored -> 'field_times' ->> field.key)::timestamptz > base AND stored -> field.key <> field.value)
$$;
