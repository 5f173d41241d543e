-- Keys of texts, which `core.text` makes: SQL compares them and folds no case itself. The step fills the rows that
-- exist, and reports rows with the same key.
--
-- The former indexes and `user_profiles.search` stay for the version that runs while this one is deployed.

ALTER TABLE user_profiles
    ADD COLUMN email_key text,
    ADD COLUMN contact_email_key text,
    ADD COLUMN username_key text,
    ADD COLUMN username_search text,
    ADD COLUMN first_name_search text,
    ADD COLUMN last_name_search text;
-- split
ALTER TABLE registrations
    ADD COLUMN email_key text,
    ADD COLUMN username_key text,
    ADD COLUMN username_search text,
    ADD COLUMN first_name_search text,
    ADD COLUMN last_name_search text;
-- split
ALTER TABLE trip_invitations ADD COLUMN email_key text;
-- split
ALTER TABLE trips ADD COLUMN destination_name_search text, ADD COLUMN destination_address_search text;
-- split

-- step: fill_text_keys
-- split

-- Rows that the former version inserts have no keys. For the minutes in which both versions run, PostgreSQL makes
-- them, which is right for ASCII.
CREATE FUNCTION profile_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email_key = coalesce(NEW.email_key, lower(NEW.email));
    NEW.contact_email_key = coalesce(NEW.contact_email_key, lower(NEW.contact_email));
    NEW.username_key = coalesce(NEW.username_key, lower(NEW.username));
    NEW.username_search = coalesce(NEW.username_search, lower(NEW.username));
    NEW.first_name_search = coalesce(NEW.first_name_search, lower(NEW.first_name));
    NEW.last_name_search = coalesce(NEW.last_name_search, lower(NEW.last_name));
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER profile_keys BEFORE INSERT ON user_profiles FOR EACH ROW EXECUTE FUNCTION profile_keys();
-- split
CREATE FUNCTION registration_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email_key = coalesce(NEW.email_key, lower(NEW.email));
    NEW.username_key = coalesce(NEW.username_key, lower(NEW.username));
    NEW.username_search = coalesce(NEW.username_search, lower(NEW.username));
    NEW.first_name_search = coalesce(NEW.first_name_search, lower(NEW.first_name));
    NEW.last_name_search = coalesce(NEW.last_name_search, lower(NEW.last_name));
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER registration_keys BEFORE INSERT ON registrations FOR EACH ROW EXECUTE FUNCTION registration_keys();
-- split
CREATE FUNCTION invitation_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email_key = coalesce(NEW.email_key, lower(NEW.invitee_email));
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER invitation_key BEFORE INSERT ON trip_invitations FOR EACH ROW EXECUTE FUNCTION invitation_key();
-- split
CREATE FUNCTION destination_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.destination_name_search = coalesce(NEW.destination_name_search, lower(NEW.destination_name));
    NEW.destination_address_search = coalesce(NEW.destination_address_search, lower(NEW.destination_address));
    RETURN NEW;
END $$;
-- split
CREATE TRIGGER destination_keys BEFORE INSERT ON trips FOR EACH ROW EXECUTE FUNCTION destination_keys();
-- split

ALTER TABLE user_profiles
    ALTER COLUMN email_key SET NOT NULL,
    ALTER COLUMN username_key SET NOT NULL,
    ALTER COLUMN username_search SET NOT NULL,
    ALTER COLUMN first_name_search SET NOT NULL,
    ALTER COLUMN last_name_search SET NOT NULL;
-- split
CREATE UNIQUE INDEX user_profiles_email_key ON user_profiles (email_key);
-- split
CREATE UNIQUE INDEX user_profiles_username_key ON user_profiles (username_key);
-- split
CREATE INDEX user_profiles_contact_email_key ON user_profiles (contact_email_key);
-- split
CREATE INDEX user_profiles_username_search ON user_profiles (username_search, id);
-- split
ALTER TABLE registrations
    ALTER COLUMN email_key SET NOT NULL,
    ALTER COLUMN username_key SET NOT NULL,
    ALTER COLUMN username_search SET NOT NULL,
    ALTER COLUMN first_name_search SET NOT NULL,
    ALTER COLUMN last_name_search SET NOT NULL;
-- split
CREATE INDEX registrations_email_key ON registrations (email_key, created_at DESC);
-- split
CREATE INDEX registrations_username_key ON registrations (username_key, created_at DESC);
-- split
ALTER TABLE trip_invitations ALTER COLUMN email_key SET NOT NULL;
-- split
-- Only one unique index can decide a conflict, and two invitations at once would meet the other: the former version
-- invites again once this one has replaced it.
DROP INDEX trip_invitations_pending;
-- split
CREATE UNIQUE INDEX trip_invitations_pending_key ON trip_invitations (trip_id, email_key) WHERE status = 'PENDING';
-- split

-- True if an invitation is for this user: by its address, or bound to the account.
CREATE FUNCTION is_invitee(i trip_invitations, u user_profiles) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(i.invitee_id = u.id, false) OR i.email_key NOT LIKE '%@people.invalid' AND (
        i.email_key = u.email_key
        OR coalesce(u.contact_email_confirmed_at IS NOT NULL AND i.email_key = u.contact_email_key, false))
$$;
