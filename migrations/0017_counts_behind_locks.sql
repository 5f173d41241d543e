-- What an address was sent, counted once every other transaction that counts the same has ended: until the commit, no
-- other one counts. A lock on an address is taken before all locks on rows.

-- Mails to an address that other users caused.
CREATE FUNCTION locked_mail_count(address text, since timestamptz) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(address, 7206035));
    RETURN (SELECT count(*) FROM mails_sent m WHERE m.recipient = address AND m.sent_at > since);
END
$$;
-- split

-- Registrations of an address, of which each is mailed.
CREATE FUNCTION locked_registration_count(address text, since timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(address, 7206036));
    RETURN (SELECT count(*) FROM registrations r WHERE r.email_key = address AND r.created_at > since);
END
$$;
