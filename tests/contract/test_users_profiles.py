"""`Profiles`: onboarding, changes, preferences and search."""

import asyncio
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from nomadcrew.core.errors import Invalid, NotFound, NotOnboarded, Unavailable
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.mail import MAX_MAILS
from nomadcrew.core.users.errors import AdminOnly, EmailRequired, EmailTaken, NotSelf, UsernameTaken
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import ContactEmailCodeId, ProfileChange, UnconfirmedContactEmail
from tests.contract.auth_ports import NOON, AuthPorts, new_profile
from tests.contract.trip_database import TripDb

LATER = NOON + timedelta(hours=1)


async def change(
    auth: AuthPorts, profile: Profile, caller: Profile, *, is_admin: bool = False, **to: str
) -> Profile:
    return await auth.profiles.change(profile.id, ProfileChange(**to), caller.id, is_admin=is_admin, now=LATER)


async def found(auth: AuthPorts, text: str, caller: Profile, limit: int = 20) -> list[str]:
    rows = await auth.profiles.search(text, caller.id, trip_id=None, limit=limit)
    return [row.username for row in rows]


async def test_onboarding_creates_a_profile(auth: AuthPorts) -> None:
    wanted = new_profile("ana", first_name="Ana", last_name="Lima", avatar_url="https://x.example/a.png")
    assert await auth.profiles.onboard(wanted) == wanted
    assert await auth.profiles.get(wanted.id, wanted.id) == wanted


@pytest.mark.contract("rest-core.onboard.repeat")
async def test_repeated_onboarding_changes_nothing(auth: AuthPorts) -> None:
    first = await auth.profile("ana")
    assert await auth.profiles.onboard(replace(first, created_at=LATER, updated_at=LATER)) == first


async def test_concurrent_onboarding_creates_one_profile(auth: AuthPorts) -> None:
    wanted = new_profile("ana")
    results = await asyncio.gather(*(auth.profiles.onboard(wanted) for _ in range(8)), return_exceptions=True)
    assert wanted in results
    assert all(result == wanted or isinstance(result, Unavailable) for result in results)
    assert await auth.profiles.onboard(wanted) == wanted


@pytest.mark.contract("rest-core.onboard.fix-change")
async def test_onboarding_updates_address_and_username(auth: AuthPorts) -> None:
    first = await auth.profile("ana")
    moved = replace(first, email="ana@new.example", username="anita", updated_at=LATER)
    assert await auth.profiles.onboard(moved, rename=True) == moved


async def test_onboarding_without_rename_leaves_the_username(auth: AuthPorts) -> None:
    first = await auth.profile("ana")
    assert (await auth.profiles.onboard(replace(first, username="token"), rename=False)).username == "ana"


async def test_onboarding_fills_empty_names_and_avatar_and_never_overwrites_them(auth: AuthPorts) -> None:
    bare = await auth.profile("ana")
    named = replace(bare, first_name="Ana", avatar_url="https://x.example/a.png", updated_at=LATER)
    assert await auth.profiles.onboard(named) == named
    other = replace(bare, first_name="Other", last_name="Name", avatar_url="https://x.example/b.png")
    stored = await auth.profiles.onboard(other)
    assert (stored.first_name, stored.last_name, stored.avatar_url) == ("Ana", "", "https://x.example/a.png")


async def test_a_new_profile_needs_an_address(auth: AuthPorts) -> None:
    with pytest.raises(EmailRequired):
        await auth.profile("ana", email="")
    first = await auth.profile("ana")
    assert await auth.profiles.onboard(replace(first, email="")) == first


async def test_the_address_or_username_of_another_user_is_taken(auth: AuthPorts) -> None:
    await auth.profile("ana")
    with pytest.raises(EmailTaken):
        await auth.profile("ben", email="ANA@example.org")
    with pytest.raises(UsernameTaken):
        await auth.profile("ben", username="Ana")
    ben = await auth.profile("ben")
    with pytest.raises(UsernameTaken):
        await auth.profiles.onboard(replace(ben, username="ANA"), rename=True)


async def test_only_a_caller_with_a_profile_reads_profiles(auth: AuthPorts) -> None:
    ana, ben, unknown = await auth.profile("ana"), await auth.profile("ben"), UserId(uuid7())
    assert await auth.profiles.get(ben.id, ana.id) == ben
    with pytest.raises(NotFound):
        await auth.profiles.get(unknown, ana.id)
    with pytest.raises(NotOnboarded):
        await auth.profiles.get(ana.id, unknown)


async def test_a_change_leaves_other_fields(auth: AuthPorts) -> None:
    ana = await auth.profile("ana", first_name="Ana")
    changed = await change(auth, ana, ana, location_privacy_preference="approximate", last_name="Lima")
    assert changed == replace(ana, last_name="Lima", location_privacy_preference="approximate", updated_at=LATER)
    assert await auth.profiles.get(ana.id, ana.id) == changed


async def test_a_change_without_effect_leaves_the_update_time(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    assert await change(auth, ana, ana) == ana
    assert await change(auth, ana, ana, username="ana", first_name="") == ana


async def test_a_username_may_change_its_case(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    assert (await change(auth, ana, ana, username="Ana")).username == "Ana"


async def test_a_name_can_be_emptied(auth: AuthPorts) -> None:
    ana = await auth.profile("ana", first_name="Ana")
    assert (await change(auth, ana, ana, first_name="")).first_name == ""


async def test_only_the_user_and_admins_change_a_profile(auth: AuthPorts) -> None:
    ana, ben = await auth.profile("ana"), await auth.profile("ben")
    with pytest.raises(NotSelf):
        await change(auth, ana, ben, first_name="Ana")
    assert (await change(auth, ana, ben, is_admin=True, first_name="Ana")).first_name == "Ana"
    unknown = replace(ana, id=UserId(uuid7()))
    with pytest.raises(NotOnboarded):
        await change(auth, ana, unknown, is_admin=True, first_name="Ana")
    with pytest.raises(NotFound):
        await change(auth, unknown, ana, is_admin=True, first_name="Ana")
    with pytest.raises(NotSelf):
        await change(auth, unknown, ana, first_name="Ana")


async def test_a_change_to_a_taken_username_is_refused(auth: AuthPorts) -> None:
    ana, _ = await auth.profile("ana"), await auth.profile("ben")
    with pytest.raises(UsernameTaken):
        await change(auth, ana, ana, username="BEN")


async def merge(auth: AuthPorts, profile: Profile, caller: Profile, **preferences: object) -> dict[str, object]:
    merged = await auth.profiles.merge_preferences(profile.id, preferences, caller.id, is_admin=False, now=LATER)
    assert merged == await auth.profiles.get(profile.id, profile.id)
    return merged.preferences


async def test_preferences_are_merged_by_key_and_null_removes_a_key(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    assert await merge(auth, ana, ana, ghostMode=True, theme="dark") == {"ghostMode": True, "theme": "dark"}
    assert await merge(auth, ana, ana, ghostMode=False) == {"ghostMode": False, "theme": "dark"}
    assert await merge(auth, ana, ana, theme=None, unknown=None) == {"ghostMode": False}
    assert await merge(auth, ana, ana, notifications={"push": None}) == {
        "ghostMode": False, "notifications": {"push": None},
    }  # fmt: skip
    assert await merge(auth, ana, ana, ghostMode=None, notifications=None) == {}


async def test_switches_of_two_routes_at_the_same_moment_are_both_stored(auth: AuthPorts) -> None:
    for number in range(15):
        ana = await auth.profile(f"ana{number}")
        await asyncio.gather(
            auth.profiles.merge_preferences(ana.id, {"ghostMode": True}, ana.id, is_admin=False, now=LATER),
            auth.profiles.merge_notification_preferences({"push": False}, {}, ana.id, now=LATER),
        )
        stored = (await auth.profiles.get(ana.id, ana.id)).preferences
        assert (stored["ghostMode"], stored["notifications"]) == (True, {"push": False})


async def test_concurrent_merges_of_preferences_are_all_stored(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    await asyncio.gather(
        *(
            auth.profiles.merge_preferences(ana.id, {f"k{n}": n}, ana.id, is_admin=False, now=LATER)
            for n in range(8)
        )
    )
    assert len((await auth.profiles.get(ana.id, ana.id)).preferences) == 8


async def test_preferences_have_a_size_limit(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    await merge(auth, ana, ana, a="x" * 10_000)
    with pytest.raises(Invalid):
        await merge(auth, ana, ana, b="x" * 10_000)
    assert set(await merge(auth, ana, ana)) == {"a"}


async def test_notification_preferences_are_merged_within_their_two_keys(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    await merge(auth, ana, ana, ghostMode=True, notifications={"push": False}, notificationDetails="no object")

    async def save(switches: dict[str, object], details: dict[str, object]) -> dict[str, object]:
        merged = await auth.profiles.merge_notification_preferences(switches, details, ana.id, now=LATER)
        assert merged == await auth.profiles.get(ana.id, ana.id)
        return merged.preferences

    assert await save({"email": False}, {"chat": "mentions"}) == {
        "ghostMode": True,
        "notifications": {"push": False, "email": False},
        "notificationDetails": {"chat": "mentions"},
    }
    assert await save({"push": True}, {"quietHours": None}) == {
        "ghostMode": True,
        "notifications": {"push": True, "email": False},
        "notificationDetails": {"chat": "mentions", "quietHours": None},
    }
    with pytest.raises(Invalid):
        await save({}, {"chat": "x" * 20_000})
    with pytest.raises(NotOnboarded):
        await auth.profiles.merge_notification_preferences({}, {}, UserId(uuid7()), now=LATER)


async def test_only_the_user_changes_preferences(auth: AuthPorts) -> None:
    ana, ben = await auth.profile("ana"), await auth.profile("ben")
    with pytest.raises(NotSelf):
        await merge(auth, ana, ben, ghostMode=True)
    with pytest.raises(NotOnboarded):
        await merge(auth, ana, replace(ana, id=UserId(uuid7())), ghostMode=True)


async def contact(auth: AuthPorts, user_id: UserId, email: str, at: datetime = LATER) -> ContactEmailCodeId:
    code_id = ContactEmailCodeId(uuid7())
    await auth.profiles.set_contact_email(user_id, email, code_id=code_id, event_id=EventId(uuid7()), now=at)
    return code_id


async def mails(auth: AuthPorts) -> int:
    return (await TripDb(auth.sql).types()).count("contact_email.confirmation_requested")


async def test_a_contact_address_is_stored_as_written(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    await contact(auth, ana.id, "Ana@Relay.example")
    assert (await auth.profiles.get(ana.id, ana.id)).contact_email == "Ana@Relay.example"
    with pytest.raises(NotOnboarded):
        await contact(auth, UserId(uuid7()), "x@example.org")


async def test_a_contact_address_must_not_be_the_account_address_of_another_user(auth: AuthPorts) -> None:
    ana, _ = await auth.profile("ana"), await auth.profile("ben")
    with pytest.raises(EmailTaken):
        await contact(auth, ana.id, "BEN@example.org")
    await contact(auth, ana.id, "ana@example.org")
    assert await mails(auth) == 0  # the account's own address is confirmed with the account


async def test_a_contact_address_finds_its_user_once_it_is_confirmed(auth: AuthPorts) -> None:
    ana, ben = await auth.profile("ana"), await auth.profile("ben")
    code_id = await contact(auth, ana.id, "Relay77@apple.example")
    assert await found(auth, "relay77@apple.example", ben) == []
    waiting = await auth.profiles.get_unconfirmed_contact_email(code_id)
    assert waiting == UnconfirmedContactEmail(ana.id, "ana", "Relay77@apple.example")
    for _ in range(2):
        assert await auth.profiles.confirm_contact_email(code_id, now=LATER) == waiting
    assert await auth.profiles.get_unconfirmed_contact_email(code_id) is None
    assert await found(auth, "relay77@apple.example", ben) == ["ana"]
    await contact(auth, ana.id, "RELAY77@apple.example")
    assert await found(auth, "relay77@apple.example", ben) == ["ana"]  # the same address stays confirmed


async def test_the_code_of_a_replaced_contact_address_confirms_nothing(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    old = await contact(auth, ana.id, "stranger@example.net")
    await contact(auth, ana.id, "other@example.net")
    assert await auth.profiles.get_unconfirmed_contact_email(old) is None
    assert await auth.profiles.confirm_contact_email(old, now=LATER) is None
    assert await found(auth, "other@example.net", ana) == []


async def test_a_contact_address_is_mailed_after_a_pause_and_a_limited_number_of_times_a_day(
    auth: AuthPorts,
) -> None:
    users = [await auth.profile(f"user{n}") for n in range(MAX_MAILS + 1)]
    for minute in (0, 1, 6):
        await contact(auth, users[0].id, "victim@example.net", LATER + timedelta(minutes=minute))
    assert await mails(auth) == 2
    for user in users[1:]:
        await contact(auth, user.id, "VICTIM@example.net", LATER + timedelta(minutes=7))
    assert await mails(auth) == MAX_MAILS
    await contact(auth, users[-1].id, "victim@example.net", LATER + timedelta(days=2))
    assert await mails(auth) == MAX_MAILS + 1


async def companions(auth: AuthPorts, *profiles: Profile) -> TripId:
    """Put these users on one trip."""
    db = TripDb(auth.sql)
    trip = await db.trip(profiles[0].id)
    for profile in profiles[1:]:
        await db.join(trip, profile.id, profiles[0].id)
    return trip


async def test_search_finds_strangers_by_address_and_by_the_beginning_of_their_username(auth: AuthPorts) -> None:
    await auth.profile("ana", first_name="Eva", last_name="Lima", email="a.lima@example.org")
    ben = await auth.profile("ben")
    for text in ("an", "ANA", "A.Lima@example.org"):
        assert await found(auth, text, ben) == ["ana"], text
    for text in (
        "na",
        "eva",
        "Lima",
        "a.lima@",
        "a.lima@example",
        "example.org",
        "@example.org",
        "lima@example.org",
    ):
        assert await found(auth, text, ben) == [], text


async def test_search_finds_companions_by_a_part_of_their_name_but_not_of_their_address(auth: AuthPorts) -> None:
    ana = await auth.profile("ana", first_name="Eva", last_name="Lima", email="private@example.org")
    hanna = await auth.profile("hanna")
    await companions(auth, ana, hanna)
    for text in ("EV", "lim", "ima", "va li"):
        assert await found(auth, text, hanna) == ["ana"], text
    assert await found(auth, "privat", hanna) == []
    assert await found(auth, "na", hanna) == []  # two characters match a beginning only
    assert await found(auth, "ann", ana) == ["hanna"]


async def test_search_does_not_take_members_of_deleted_or_earlier_trips_for_companions(auth: AuthPorts) -> None:
    ana, ben, cem = [await auth.profile(name, first_name=f"First{name}") for name in ("ana", "ben", "cem")]
    db = TripDb(auth.sql)
    await companions(auth, ana, ben)
    left = await companions(auth, ana, cem)
    assert await found(auth, "first", ana) == ["ana", "ben", "cem"]
    await db.run("UPDATE trip_memberships SET status = 'INACTIVE' WHERE user_id = :id::uuid", id=cem.id)
    assert await found(auth, "first", ana) == ["ana", "ben"]
    await db.run("UPDATE trips SET deleted_at = now() WHERE id <> :id::uuid", id=left)
    assert await found(auth, "first", ana) == ["ana"]
    assert not (await auth.profiles.view(ben.id, ana.id)).is_companion


async def test_search_treats_wildcards_literally(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    others = [await auth.profile(name) for name in ("a_b", "axb", "per%cent", "back\\slash")]
    await companions(auth, ana, *others)
    assert await found(auth, "a_b", ana) == ["a_b"]
    assert await found(auth, "r%c", ana) == ["per%cent"]
    assert await found(auth, "k\\s", ana) == ["back\\slash"]
    assert await found(auth, "%%", ana) == []


@pytest.mark.contract("rest-core.search.order")
async def test_search_ranks_addresses_first_then_beginnings_of_usernames(auth: AuthPorts) -> None:
    zoe = await auth.profile("zoe", email="mariana@example.org")
    anamaria = await auth.profile("anamaria")
    mariana = await auth.profile("mariana", email="y@example.org")
    maria = await auth.profile("maria", email="z@example.org")
    await companions(auth, maria, anamaria, mariana, zoe)
    assert await found(auth, "mari", maria) == ["maria", "mariana", "anamaria"]
    assert await found(auth, "mari", maria, limit=2) == ["maria", "mariana"]
    assert await found(auth, "mariana@example.org", maria) == ["zoe"]


async def test_search_marks_members_and_companions_of_the_caller_only(auth: AuthPorts) -> None:
    ana, ben, cem = [await auth.profile(f"same_{name}") for name in ("ana", "ben", "cem")]
    trip = await companions(auth, ana, ben)

    async def marked(caller: Profile, trip_id: TripId | None) -> tuple[set[str], set[str]]:
        rows = await auth.profiles.search("same", caller.id, trip_id=trip_id, limit=20)
        assert len(rows) == 3
        return (
            {row.username[5:] for row in rows if row.is_member},
            {row.username[5:] for row in rows if row.is_companion},
        )

    assert await marked(ana, trip) == ({"ana", "ben"}, {"ana", "ben"})
    assert await marked(cem, trip) == (set(), set())
    assert await marked(ana, None) == (set(), {"ana", "ben"})
    assert (await auth.profiles.view(ben.id, ana.id)).is_companion
    assert not (await auth.profiles.view(cem.id, ana.id)).is_companion
    with pytest.raises(NotFound):
        await auth.profiles.view(UserId(uuid7()), ana.id)
    with pytest.raises(NotOnboarded):
        await auth.profiles.view(ana.id, UserId(uuid7()))


async def test_search_needs_a_profile(auth: AuthPorts) -> None:
    await auth.profile("ana")
    with pytest.raises(NotOnboarded):
        await auth.profiles.search("ana", UserId(uuid7()), trip_id=None, limit=5)


@pytest.mark.contract("rest-core.users")
async def test_admins_list_all_users_newest_first(auth: AuthPorts) -> None:
    ana = await auth.profile("ana")
    ben = await auth.profiles.onboard(replace(new_profile("ben"), created_at=LATER, updated_at=LATER))
    page = await auth.profiles.page(ana.id, is_admin=True, limit=1, offset=0)
    assert (page.total, list(page.items)) == (2, [ben])
    assert (await auth.profiles.page(ana.id, is_admin=True, limit=1, offset=9)).total == 2
    with pytest.raises(AdminOnly):
        await auth.profiles.page(ana.id, is_admin=False, limit=1, offset=0)
    with pytest.raises(NotOnboarded):
        await auth.profiles.page(UserId(uuid7()), is_admin=True, limit=1, offset=0)
