-- Since when somebody can be seen again who could not: what a phone recorded before that stays hidden, however late it
-- comes. NULL as long as they have never hidden.

ALTER TABLE location_sharing ADD COLUMN shown_since timestamptz;
-- split
ALTER TABLE user_profiles ADD COLUMN shown_since timestamptz;
-- split

CREATE FUNCTION sharing_shown(s location_sharing, at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT s.is_enabled AND (s.expires_at IS NULL OR s.expires_at > at) AND s.privacy IS DISTINCT FROM 'hidden'
$$;
-- split
CREATE FUNCTION note_sharing_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF sharing_shown(NEW, NEW.updated_at) AND NOT sharing_shown(OLD, NEW.updated_at) THEN
        NEW.shown_since := NEW.updated_at;
    END IF;
    RETURN NEW;
END
$$;
-- split
CREATE TRIGGER sharing_is_shown BEFORE UPDATE ON location_sharing FOR EACH ROW EXECUTE FUNCTION note_sharing_shown();
-- split

CREATE FUNCTION note_person_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.shown_since := NEW.updated_at;
    RETURN NEW;
END
$$;
-- split
CREATE TRIGGER people_are_shown BEFORE UPDATE OF preferences, location_privacy_preference ON user_profiles FOR EACH ROW
WHEN (may_be_seen(NEW.location_privacy_preference, NEW.preferences)
      AND NOT may_be_seen(OLD.location_privacy_preference, OLD.preferences))
EXECUTE FUNCTION note_person_shown();
