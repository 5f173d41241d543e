"""Fills a database of any size with SQL, with rows in the order of years of use.

Ids are derived from numbers, so rows refer to each other without lookups. Trips and users are in time order; a
user's trips, a trip's to-dos and users' notifications are scattered over their tables, as with many concurrent
writers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

TRIPS = 20_000
TRIPS_PER_PERSON = 10
MEMBERS = 5
TODOS = 10  # a trip
MESSAGES = 10  # a trip
OPTIONS = 2  # a poll, of which each trip has one
PHOTOS = 2  # a trip
NOTIFICATIONS = 5  # a person
POINTS = 4  # a membership, of the last day
EVENTS = 2  # a trip, of the last seven days
STEP = 1_000_000  # rows per transaction
# Multiplication by a prime visits every user, or trip, once before it repeats: scattered, and evenly.
SCATTER = 7_368_787
NAMES = ("ana", "ben", "chloe", "dmitri", "esther", "femi", "greta", "hugo", "ines", "jonas",
         "katya", "liam", "mina", "noor", "otto", "petra", "quinn", "rosa", "sven", "tara")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """The number of rows of each table, from the number of trips."""

    trips: int

    @property
    def people(self) -> int:
        return self.trips * MEMBERS // TRIPS_PER_PERSON

    @property
    def rows(self) -> dict[str, int]:
        return {
            "user_profiles": self.people,
            "trips": self.trips,
            "trip_memberships": self.trips * MEMBERS,
            "location_sharing": self.trips * MEMBERS,
            "last_positions": self.trips * MEMBERS,
            "location_history": self.trips * MEMBERS * POINTS,
            "trip_invitations": self.trips,
            "todos": self.trips * TODOS,
            "polls": self.trips,
            "poll_options": self.trips * OPTIONS,
            "poll_votes": self.trips * MEMBERS,
            "documents": self.trips,
            "pictures": self.trips * PHOTOS,
            "chat_threads": self.trips,
            "chat_messages": self.trips * MESSAGES,
            "notifications": self.people * NOTIFICATIONS,
            "outbox": self.trips * EVENTS,
        }


FUNCTIONS = """
CREATE FUNCTION bench_id(kind integer, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('019a00' || lpad(to_hex(kind), 2, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid
$$;
CREATE FUNCTION bench_time(n bigint, of bigint, days integer) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT timestamptz '2026-11-22 12:00Z' - days * interval '1 day' * (1 - n::float8 / of)
$$;
"""
PERSON, TRIP, MEMBERSHIP, INVITATION, TODO, NOTIFICATION, EVENT, POLL, OPTION, DOCUMENT, MESSAGE, PHOTO = range(
    1, 13
)
# $1 and $2 are the first and the last number, $3 is the number of trips, $4 the number of users.
ROWS = {
    "user_profiles": f"""
        INSERT INTO user_profiles (id, email, username, first_name, last_name, created_at, updated_at)
        SELECT bench_id({PERSON}, n), name || n || '@example.org', name || n,
               initcap(name), (ARRAY['Lindqvist','Okafor','Moreau','Tanaka','Silva','Novak','Haddad','Kowalski'])
                              [1 + n / 41 % 8] || chr(97 + (n / 7 % 26)::int),
               bench_time(n, $4, 900), bench_time(n, $4, 900)
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT (ARRAY[{", ".join(f"'{name}'" for name in NAMES)}])
                             [1 + (n * 13 % {len(NAMES)})::int] AS name) AS named
        WHERE $3::bigint > 0""",
    "trips": f"""
        INSERT INTO trips (id, name, description, destination_place_id, destination_address, destination_name,
                           destination_latitude, destination_longitude, start_date, end_date, status, created_by,
                           created_at, updated_at, member_count)
        SELECT bench_id({TRIP}, n), 'Along the river ' || n, 'By train from the coast to the border.',
               'ChIJwVPhxKtlJA0RvBSxQFbZSKY', 'Porto, Portugal', 'Porto', 41.1496, -8.611,
               (at + interval '30 days')::date, (at + interval '39 days')::date,
               (ARRAY['PLANNING','ACTIVE','COMPLETED','COMPLETED'])[1 + n % 4],
               bench_id({PERSON}, 1 + n * {MEMBERS} * {SCATTER} % $4), at, at, {MEMBERS}
        FROM generate_series($1::bigint, $2::bigint) AS n, LATERAL (SELECT bench_time(n, $3, 900) AS at) AS t""",
    "trip_memberships": f"""
        INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)
        SELECT bench_id({MEMBERSHIP}, n), bench_id({TRIP}, n / {MEMBERS}),
               bench_id({PERSON}, 1 + n * {SCATTER} % $4),
               CASE n % {MEMBERS} WHEN 0 THEN 'OWNER' ELSE 'MEMBER' END, 'ACTIVE', at, at, at
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT bench_time(n / {MEMBERS}, $3, 900) AS at) AS t""",
    "location_sharing": f"""
        INSERT INTO location_sharing (trip_id, user_id, is_enabled, updated_at)
        SELECT bench_id({TRIP}, n / {MEMBERS}), bench_id({PERSON}, 1 + n * {SCATTER} % $4), true,
               bench_time(n / {MEMBERS}, $3, 900)
        FROM generate_series($1::bigint, $2::bigint) AS n""",
    "last_positions": f"""
        INSERT INTO last_positions (trip_id, user_id, latitude, longitude, accuracy_m, recorded_at, received_at,
                                    privacy)
        SELECT bench_id({TRIP}, n / {MEMBERS}), bench_id({PERSON}, 1 + n * {SCATTER} % $4),
               41.15 + n % 1000 / 1e4, -8.61 - n % 997 / 1e4, 5, at, at, 'precise'
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT bench_time(n, $3 * {MEMBERS} + {MEMBERS}, 1) AS at) AS t""",
    "location_history": f"""
        INSERT INTO location_history (trip_id, user_id, recorded_at, latitude, longitude, accuracy_m, received_at,
                                      privacy, is_jump)
        SELECT bench_id({TRIP}, m / {MEMBERS}), bench_id({PERSON}, 1 + m * {SCATTER} % $4), at,
               41.15 + n % 1000 / 1e4, -8.61 - n % 997 / 1e4, 5, at, 'precise', false
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT {MEMBERS} + n % ($3 * {MEMBERS}) AS m,
                             bench_time(n, $3 * {MEMBERS} * {POINTS}, 1) AS at) AS t""",
    "trip_invitations": f"""
        INSERT INTO trip_invitations (id, trip_id, inviter_id, invitee_email, role, status, expires_at, mailed_at,
                                      mail_event_id, created_at, updated_at)
        SELECT bench_id({INVITATION}, n), bench_id({TRIP}, 1 + n * {SCATTER} % $3), bench_id({PERSON}, 1 + n % $4),
               'guest' || n || '@example.org', 'MEMBER', (ARRAY['PENDING','ACCEPTED','DECLINED'])[1 + n % 3],
               at + interval '7 days', at, bench_id({EVENT}, n), at, at
        FROM generate_series($1::bigint, $2::bigint) AS n, LATERAL (SELECT bench_time(n, $3, 900) AS at) AS t""",
    "todos": f"""
        INSERT INTO todos (id, trip_id, text, text_search, status, created_by, created_at, updated_at)
        SELECT bench_id({TODO}, n), bench_id({TRIP}, 1 + n * {SCATTER} % $3), 'Pack the small things, number ' || n,
               'pack the small things, number ' || n,
               (ARRAY['COMPLETE','INCOMPLETE'])[1 + n % 2], bench_id({PERSON}, 1 + n % $4), at, at
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT bench_time(n, $3 * {TODOS}, 900) AS at) AS t""",
    "polls": f"""
        INSERT INTO polls (id, trip_id, question, question_search, kind, ballot, allow_multiple_votes,
                           members_add_options, closes_automatically, status, created_by, expires_at, created_at,
                           updated_at)
        SELECT bench_id({POLL}, n), bench_id({TRIP}, n), 'Which train shall we take, number ' || n,
               'which train shall we take, number ' || n, 'choice', 'open', false, false, false, 'ACTIVE',
               bench_id({PERSON}, 1 + n % $4), at + interval '1 day', at, at
        FROM generate_series($1::bigint, $2::bigint) AS n, LATERAL (SELECT bench_time(n, $3, 900) AS at) AS t""",
    "poll_options": f"""
        INSERT INTO poll_options (id, poll_id, text, text_key, text_search, position, created_by, created_at)
        SELECT bench_id({OPTION}, n), bench_id({POLL}, n / {OPTIONS}), 'The one at ' || n, 'the one at ' || n,
               'the one at ' || n, n % {OPTIONS}, bench_id({PERSON}, 1 + n % $4),
               bench_time(n, $3 * {OPTIONS}, 900)
        FROM generate_series($1::bigint, $2::bigint) AS n""",
    "poll_votes": f"""
        INSERT INTO poll_votes (poll_id, user_id, option_id, is_single, created_at)
        SELECT bench_id({POLL}, n / {MEMBERS}), bench_id({PERSON}, 1 + n * {SCATTER} % $4),
               bench_id({OPTION}, n / {MEMBERS} * {OPTIONS} + n % {OPTIONS}), true,
               bench_time(n / {MEMBERS}, $3, 900)
        FROM generate_series($1::bigint, $2::bigint) AS n""",
    "documents": f"""
        INSERT INTO documents (id, user_id, trip_id, type, name, name_search, metadata, media_type, size_bytes,
                               created_at, updated_at, stored_at)
        SELECT bench_id({DOCUMENT}, n), bench_id({PERSON}, 1 + n % $4), bench_id({TRIP}, 1 + n * {SCATTER} % $3),
               'other', 'The bill of the house, number ' || n, 'the bill of the house, number ' || n, '{{}}',
               'application/pdf', 40000, at, at, at
        FROM generate_series($1::bigint, $2::bigint) AS n, LATERAL (SELECT bench_time(n, $3, 900) AS at) AS t""",
    "pictures": f"""
        INSERT INTO pictures (id, user_id, trip_id, media_type, size_bytes, status, width_px, height_px, created_at,
                              stored_at)
        SELECT bench_id({PHOTO}, n), bench_id({PERSON}, 1 + n % $4), bench_id({TRIP}, 1 + n * {SCATTER} % $3),
               'image/jpeg', 900000, 'ready', 2048, 1536, at, at
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT bench_time(n, $3 * {PHOTOS}, 900) AS at) AS t""",
    "chat_threads": f"""
        INSERT INTO chat_threads (trip_id, last_seq, last_at)
        SELECT bench_id({TRIP}, n), {MESSAGES}, bench_time(n, $3, 900)
        FROM generate_series($1::bigint, $2::bigint) AS n WHERE $4::bigint > 0""",
    "chat_messages": f"""
        INSERT INTO chat_messages (id, trip_id, seq, user_id, body, folded, event_id, created_at)
        SELECT bench_id({MESSAGE}, n), bench_id({TRIP}, 1 + n * {SCATTER} % $3), 1 + (n - 1) / $3,
               bench_id({PERSON}, 1 + n % $4), 'I am at the station, where are you, number ' || n,
               'i am at the station, where are you, number ' || n, bench_id({EVENT}, n),
               bench_time(n, $3 * {MESSAGES}, 900)
        FROM generate_series($1::bigint, $2::bigint) AS n""",
    "notifications": f"""
        INSERT INTO notifications (id, user_id, type, metadata, is_read, created_at, updated_at)
        SELECT bench_id({NOTIFICATION}, n), bench_id({PERSON}, 1 + n * {SCATTER} % $4), 'TRIP_UPDATE',
               jsonb_build_object('tripId', bench_id({TRIP}, 1 + n % $3), 'tripName', 'Along the river',
                                  'updaterName', 'Ana Lindqvist', 'changedFields', jsonb_build_array('name')),
               n % 5 > 0, at, at
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT bench_time(n, $4 * {NOTIFICATIONS}, 90) AS at) AS t""",
    "outbox": f"""
        INSERT INTO outbox (id, type, source, trip_id, actor_id, audience, occurred_at, payload, position)
        SELECT bench_id({EVENT}, n), 'TODO_CREATED', 'todo_model', trip, bench_id({PERSON}, 1 + n % $4), 'trip', at,
               todo_json(bench_id({TODO}, n), trip, 'Pack the small things', 'INCOMPLETE',
                         bench_id({PERSON}, 1 + n % $4), at, at),
               n
        FROM generate_series($1::bigint, $2::bigint) AS n,
             LATERAL (SELECT bench_id({TRIP}, 1 + n * {SCATTER} % $3) AS trip,
                             bench_time(n, $3 * {EVENTS}, 7) AS at) AS t""",
}
OF_MEMBERSHIPS = ("trip_memberships", "location_sharing", "last_positions", "poll_votes")
SECONDARY = """
SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::text::regclass AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""


# Triggers that fill columns of a new row; the others check what holds by construction, or make cards one by one.
KEYS = {"user_profiles": "profile_keys", "trips": "destination_keys", "trip_invitations": "invitation_key"}
CARDS = "INSERT INTO trip_cards SELECT id, trip_card(id) FROM trips"


async def fill(connection: "asyncpg.Connection[asyncpg.Record]", size: Size, say: Callable[[str], None]) -> float:
    """Fill a newly migrated database; returns the seconds it took, including indexes and statistics."""
    began_s = time.monotonic()
    await connection.execute(FUNCTIONS)
    # Foreign keys hold by construction; checking fifty million of them would take longer than everything else.
    await connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '512MB'")
    for table, trigger in KEYS.items():
        await connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
    for table, count in size.rows.items():
        table_s = time.monotonic()
        indices = await connection.fetch(SECONDARY, table)
        for index in indices:
            await connection.execute(f"DROP INDEX {index['name']}")
        await _insert(connection, table, count, size)
        for index in indices:
            await connection.execute(index["definition"])
        # As autovacuum does over months: statistics and the visibility map.
        await connection.execute(f"VACUUM (ANALYZE) {table}")
        say(f"{table}: {count:,} rows in {time.monotonic() - table_s:.0f} s")
    cards_s = time.monotonic()
    await connection.execute(CARDS, timeout=3_600)
    await connection.execute("VACUUM (ANALYZE) trip_cards")
    say(f"trip_cards: {size.trips:,} rows in {time.monotonic() - cards_s:.0f} s")
    for table, trigger in KEYS.items():
        await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
    await connection.execute(f"SELECT setval('outbox_position', {size.rows['outbox']})")
    await connection.execute("RESET session_replication_role; CHECKPOINT")
    return time.monotonic() - began_s


async def _insert(connection: "asyncpg.Connection[asyncpg.Record]", table: str, count: int, size: Size) -> None:
    # A trip's first membership has the number of the trip times five, so memberships start one trip later.
    first = MEMBERS if table in OF_MEMBERSHIPS else 1
    for low in range(first, first + count, STEP):
        high = min(low + STEP, first + count) - 1
        await connection.execute(ROWS[table], low, high, size.trips, size.people, timeout=600)
