"""Profiles: onboarding, changing, preferences and finding people."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from nomadcrew.core.errors import Invalid, NotFound, NotOnboarded, Unavailable
from nomadcrew.core.ids import UserId, uuid7
from nomadcrew.core.users.errors import AdminOnly, EmailRequired, EmailTaken, NotSelf, UsernameTaken
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import ProfileChange
from tests.contract.crew import Crew
from tests.contract.people import NOON, People, a_profile

LATER = NOON + timedelta(hours=1)


async def change(people: People, who: Profile, caller: Profile, *, is_admin: bool = False, **to: str) -> Profile:
    return await people.profiles.change(who.id, ProfileChange(**to), caller.id, is_admin=is_admin, now=LATER)


async def found(people: People, text: str, caller: Profile, limit: int = 20) -> list[str]:
    rows = await people.profiles.search(text, caller.id, trip_id=None, limit=limit)
    return [row.username for row in rows]


async def test_onboarding_makes_a_profile(people: People) -> None:
    wanted = a_profile("ana", first_name="Ana", last_name="Lima", avatar_url="https://x.example/a.png")
    assert await people.profiles.onboard(wanted) == wanted
    assert await people.profiles.get(wanted.id, wanted.id) == wanted


async def test_onboarding_again_changes_nothing(people: People) -> None:
    first = await people.profile("ana")
    assert await people.profiles.onboard(replace(first, created_at=LATER, updated_at=LATER)) == first


async def test_onboarding_sent_many_times_at_once_makes_one_profile(people: People) -> None:
    wanted = a_profile("ana")
    results = await asyncio.gather(*(people.profiles.onboard(wanted) for _ in range(8)), return_exceptions=True)
    assert wanted in results
    assert all(result == wanted or isinstance(result, Unavailable) for result in results)
    assert await people.profiles.onboard(wanted) == wanted


async def test_onboarding_brings_address_and_username_up_to_date(people: People) -> None:
    first = await people.profile("ana")
    moved = replace(first, email="ana@new.example", username="anita", updated_at=LATER)
    assert await people.profiles.onboard(moved, rename=True) == moved


async def test_a_username_nobody_asked_for_does_not_replace_the_stored_one(people: People) -> None:
    first = await people.profile("ana")
    assert (await people.profiles.onboard(replace(first, username="token"), rename=False)).username == "ana"


async def test_onboarding_fills_in_names_and_avatar_but_never_overwrites_them(people: People) -> None:
    bare = await people.profile("ana")
    named = replace(bare, first_name="Ana", avatar_url="https://x.example/a.png", updated_at=LATER)
    assert await people.profiles.onboard(named) == named
    other = replace(bare, first_name="Other", last_name="Name", avatar_url="https://x.example/b.png")
    kept = await people.profiles.onboard(other)
    assert (kept.first_name, kept.last_name, kept.avatar_url) == ("Ana", "", "https://x.example/a.png")


async def test_a_profile_needs_an_address_but_keeps_the_one_it_has(people: People) -> None:
    with pytest.raises(EmailRequired):
        await people.profile("ana", email="")
    first = await people.profile("ana")
    assert await people.profiles.onboard(replace(first, email="")) == first


async def test_another_persons_address_or_username_is_taken(people: People) -> None:
    await people.profile("ana")
    with pytest.raises(EmailTaken):
        await people.profile("ben", email="ANA@example.org")
    with pytest.raises(UsernameTaken):
        await people.profile("ben", username="Ana")
    ben = await people.profile("ben")
    with pytest.raises(UsernameTaken):
        await people.profiles.onboard(replace(ben, username="ANA"), rename=True)


async def test_one_sees_others_but_only_with_a_profile_of_ones_own(people: People) -> None:
    ana, ben, nobody = await people.profile("ana"), await people.profile("ben"), UserId(uuid7())
    assert await people.profiles.get(ben.id, ana.id) == ben
    with pytest.raises(NotFound):
        await people.profiles.get(nobody, ana.id)
    with pytest.raises(NotOnboarded):
        await people.profiles.get(ana.id, nobody)


async def test_a_change_leaves_the_rest_as_it_was(people: People) -> None:
    ana = await people.profile("ana", first_name="Ana")
    changed = await change(people, ana, ana, location_privacy_preference="approximate", last_name="Lima")
    assert changed == replace(ana, last_name="Lima", location_privacy_preference="approximate", updated_at=LATER)
    assert await people.profiles.get(ana.id, ana.id) == changed


async def test_a_change_that_changes_nothing_leaves_the_time_alone(people: People) -> None:
    ana = await people.profile("ana")
    assert await change(people, ana, ana) == ana
    assert await change(people, ana, ana, username="ana", first_name="") == ana


async def test_ones_own_username_may_change_its_case(people: People) -> None:
    ana = await people.profile("ana")
    assert (await change(people, ana, ana, username="Ana")).username == "Ana"


async def test_a_name_can_be_emptied(people: People) -> None:
    ana = await people.profile("ana", first_name="Ana")
    assert (await change(people, ana, ana, first_name="")).first_name == ""


async def test_only_oneself_and_administrators_change_a_profile(people: People) -> None:
    ana, ben = await people.profile("ana"), await people.profile("ben")
    with pytest.raises(NotSelf):
        await change(people, ana, ben, first_name="Ana")
    assert (await change(people, ana, ben, is_admin=True, first_name="Ana")).first_name == "Ana"
    nobody = replace(ana, id=UserId(uuid7()))
    with pytest.raises(NotOnboarded):
        await change(people, ana, nobody, is_admin=True, first_name="Ana")
    with pytest.raises(NotFound):
        await change(people, nobody, ana, is_admin=True, first_name="Ana")
    with pytest.raises(NotSelf):
        await change(people, nobody, ana, first_name="Ana")


async def test_a_change_to_another_persons_username_is_refused(people: People) -> None:
    ana, _ = await people.profile("ana"), await people.profile("ben")
    with pytest.raises(UsernameTaken):
        await change(people, ana, ana, username="BEN")


async def merge(people: People, who: Profile, caller: Profile, **preferences: object) -> dict[str, object]:
    merged = await people.profiles.merge_preferences(who.id, preferences, caller.id, is_admin=False, now=LATER)
    assert merged == await people.profiles.get(who.id, who.id)
    return merged.preferences


async def test_preferences_are_merged_by_key_and_null_removes_one(people: People) -> None:
    ana = await people.profile("ana")
    assert await merge(people, ana, ana, ghostMode=True, theme="dark") == {"ghostMode": True, "theme": "dark"}
    assert await merge(people, ana, ana, ghostMode=False) == {"ghostMode": False, "theme": "dark"}
    assert await merge(people, ana, ana, theme=None, unknown=None) == {"ghostMode": False}
    assert await merge(people, ana, ana, notifications={"push": None}) == {
        "ghostMode": False, "notifications": {"push": None},
    }  # fmt: skip
    assert await merge(people, ana, ana, ghostMode=None, notifications=None) == {}


async def test_preferences_merged_at_the_same_time_are_all_kept(people: People) -> None:
    ana = await people.profile("ana")
    await asyncio.gather(
        *(
            people.profiles.merge_preferences(ana.id, {f"k{n}": n}, ana.id, is_admin=False, now=LATER)
            for n in range(8)
        )
    )
    assert len((await people.profiles.get(ana.id, ana.id)).preferences) == 8


async def test_preferences_do_not_grow_without_end(people: People) -> None:
    ana = await people.profile("ana")
    await merge(people, ana, ana, a="x" * 10_000)
    with pytest.raises(Invalid):
        await merge(people, ana, ana, b="x" * 10_000)
    assert set(await merge(people, ana, ana)) == {"a"}


async def test_what_one_wants_to_be_told_is_merged_inside_its_two_keys(people: People) -> None:
    ana = await people.profile("ana")
    await merge(people, ana, ana, ghostMode=True, notifications={"push": False}, notificationDetails="no object")

    async def want(switches: dict[str, object], details: dict[str, object]) -> dict[str, object]:
        merged = await people.profiles.merge_notification_preferences(switches, details, ana.id, now=LATER)
        assert merged == await people.profiles.get(ana.id, ana.id)
        return merged.preferences

    assert await want({"email": False}, {"chat": "mentions"}) == {
        "ghostMode": True,
        "notifications": {"push": False, "email": False},
        "notificationDetails": {"chat": "mentions"},
    }
    assert await want({"push": True}, {"quietHours": None}) == {
        "ghostMode": True,
        "notifications": {"push": True, "email": False},
        "notificationDetails": {"chat": "mentions", "quietHours": None},
    }
    with pytest.raises(Invalid):
        await want({}, {"chat": "x" * 20_000})
    with pytest.raises(NotOnboarded):
        await people.profiles.merge_notification_preferences({}, {}, UserId(uuid7()), now=LATER)


async def test_preferences_are_changed_by_oneself_only(people: People) -> None:
    ana, ben = await people.profile("ana"), await people.profile("ben")
    with pytest.raises(NotSelf):
        await merge(people, ana, ben, ghostMode=True)
    with pytest.raises(NotOnboarded):
        await merge(people, ana, replace(ana, id=UserId(uuid7())), ghostMode=True)


async def test_a_contact_address_is_kept_as_it_was_written(people: People) -> None:
    ana = await people.profile("ana")
    await people.profiles.set_contact_email(ana.id, "Ana@Relay.example", now=LATER)
    assert (await people.profiles.get(ana.id, ana.id)).contact_email == "Ana@Relay.example"
    with pytest.raises(NotOnboarded):
        await people.profiles.set_contact_email(UserId(uuid7()), "x@example.org", now=LATER)


async def test_an_address_somebody_signs_in_with_is_nobody_elses_contact(people: People) -> None:
    ana, _ = await people.profile("ana"), await people.profile("ben")
    with pytest.raises(EmailTaken):
        await people.profiles.set_contact_email(ana.id, "BEN@example.org", now=LATER)
    await people.profiles.set_contact_email(ana.id, "ana@example.org", now=LATER)


async def test_search_looks_at_names_and_addresses_whatever_the_case(people: People) -> None:
    ana = await people.profile("ana", first_name="Ana", last_name="Lima", email="a.lima@example.org")
    await people.profile("ben", first_name="Ben", email="ben@example.net")
    await people.profiles.set_contact_email(ana.id, "relay77@apple.example", now=LATER)
    for text in ("an", "LIMA", "a.lima@", "RELAY77", "ana l"):
        assert await found(people, text, ana) == ["ana"], text
    assert await found(people, "example.", ana) == ["ana", "ben"]
    assert await found(people, "nobody", ana) == []


async def test_two_letters_find_what_begins_with_them(people: People) -> None:
    ana = await people.profile("ana", last_name="Lima")
    await people.profile("hanna", email="zoe@example.org")
    assert await found(people, "an", ana) == ["ana"]
    assert await found(people, "LI", ana) == ["ana"]
    assert await found(people, "zo", ana) == ["hanna"]
    assert await found(people, "na", ana) == []
    assert await found(people, "ann", ana) == ["hanna"]


async def test_search_takes_wildcards_literally(people: People) -> None:
    ana = await people.profile("ana")
    await people.profile("a_b")
    await people.profile("axb")
    await people.profile("per%cent")
    await people.profile("back\\slash")
    assert await found(people, "a_b", ana) == ["a_b"]
    assert await found(people, "r%c", ana) == ["per%cent"]
    assert await found(people, "k\\s", ana) == ["back\\slash"]
    assert await found(people, "%%", ana) == []


async def test_search_puts_usernames_that_begin_so_first_then_addresses_then_the_rest(people: People) -> None:
    await people.profile("zoe", email="maria@example.org")
    await people.profile("anamaria", email="x@example.org")
    await people.profile("mariana", email="y@example.org")
    me = await people.profile("maria", email="z@example.org")
    assert await found(people, "mari", me) == ["maria", "mariana", "zoe", "anamaria"]
    assert await found(people, "mari", me, limit=2) == ["maria", "mariana"]


async def test_search_marks_the_members_of_a_trip_of_mine_only(people: People) -> None:
    crew = Crew(people.sql)
    ana, ben, cem = [await people.profile(name) for name in ("ana", "ben", "cem")]
    trip = await crew.trip(ana.id)
    await crew.join(trip, ben.id, ana.id)

    async def marked(caller: Profile) -> set[str]:
        rows = await people.profiles.search("example", caller.id, trip_id=trip, limit=20)
        assert len(rows) == 3
        return {row.username for row in rows if row.is_member}

    assert await marked(ana) == {"ana", "ben"}
    assert await marked(cem) == set()
    assert not any(row.is_member for row in await people.profiles.search("ex", ana.id, trip_id=None, limit=9))


async def test_search_is_for_people_with_a_profile(people: People) -> None:
    await people.profile("ana")
    with pytest.raises(NotOnboarded):
        await people.profiles.search("ana", UserId(uuid7()), trip_id=None, limit=5)


async def test_everybody_is_listed_newest_first_for_administrators(people: People) -> None:
    ana = await people.profile("ana")
    ben = await people.profiles.onboard(replace(a_profile("ben"), created_at=LATER, updated_at=LATER))
    page = await people.profiles.page(ana.id, is_admin=True, limit=1, offset=0)
    assert (page.total, list(page.items)) == (2, [ben])
    assert (await people.profiles.page(ana.id, is_admin=True, limit=1, offset=9)).total == 2
    with pytest.raises(AdminOnly):
        await people.profiles.page(ana.id, is_admin=False, limit=1, offset=0)
    with pytest.raises(NotOnboarded):
        await people.profiles.page(UserId(uuid7()), is_admin=True, limit=1, offset=0)
