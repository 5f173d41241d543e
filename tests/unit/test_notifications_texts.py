"""The texts of notifications."""

from typing import Any

import pytest

from nomadcrew.core.notifications.texts import message, preview, push_body, push_title, sent_file

# Type, metadata, sentence, title of the push.
TEXTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("TRIP_INVITATION_RECEIVED", {"inviterName": "Ana", "tripName": "Porto"}, "Ana invited you to Porto",
     "Trip invitation"),
    ("TRIP_INVITATION_RECEIVED", {"inviterName": "Ana", "tripName": "Porto", "change": "reminder"},
     "Ana still invites you to Porto", "Invitation ends soon"),
    ("TRIP_INVITATION", {}, "Someone invited you to your trip", "Trip invitation"),
    ("TRIP_INVITATION_ACCEPTED", {"memberName": "Ben", "tripName": "Porto"},
     "Ben accepted your invitation to Porto", "NomadCrew"),
    ("TRIP_INVITATION_DECLINED", {"memberName": "Ben"}, "Ben declined your invitation to your trip", "NomadCrew"),
    ("MEMBER_ADDED", {"addedUserName": "Ben", "tripName": "Porto"}, "Ben joined Porto", "NomadCrew"),
    ("TRIP_MEMBER_JOINED", {"memberName": "Ben", "tripName": "Porto"}, "Ben joined Porto", "New member"),
    ("TRIP_MEMBER_LEFT", {"memberName": "Ben", "tripName": "Porto"}, "Ben left Porto", "Member left"),
    ("MEMBERSHIP_CHANGE", {"change": "removed", "tripName": "Porto"}, "You were removed from Porto", "NomadCrew"),
    ("MEMBERSHIP_CHANGE", {"change": "role", "role": "ADMIN"}, "Your role on your trip is now admin", "NomadCrew"),
    ("MEMBERSHIP_CHANGE", {}, "Your role on your trip is now changed", "NomadCrew"),
    ("TRIP_UPDATED", {"updaterName": "Ana", "tripName": "{role}"}, "Ana updated {role}", "Trip updated"),
    ("TRIP_UPDATE", {"updaterName": "Ana", "tripName": "Porto"}, "Ana updated Porto", "NomadCrew"),
    ("TRIP_UPDATE", {"updaterName": "Ana", "question": "How?", "change": "poll_created"}, "Ana asks: How?",
     "New poll"),
    ("TRIP_UPDATE", {"updaterName": "Ana", "question": "How?", "change": "poll_closed"},
     "The poll is closed: How?", "Poll closed"),
    ("TRIP_UPDATE", {"change": "poll_reminder"}, "A day left to vote: a poll", "Poll ends soon"),
    ("TRIP_UPDATE", {"tripName": "Porto", "change": "webhook_disabled"},
     "A webhook of Porto was disabled: its server refuses events", "Webhook disabled"),
    ("TODO_COMPLETED", {"completerName": "Ben", "todoTitle": "boots"}, "Ben completed boots", "Task completed"),
    ("TODO_ASSIGNED", {"assignerName": "Ana", "todoTitle": "boots"}, "Ana assigned boots to you", "Task assigned"),
    ("TODO_ASSIGNED", {"todoTitle": "boots", "change": "due"}, "boots is due within a day", "Task due"),
    ("TASK_COMPLETED", {}, "Someone completed a task", "NomadCrew"),
    ("CHAT_MESSAGE", {"senderName": "Ana"}, "New message from Ana", "Ana"),
    ("CHAT_MESSAGE", {}, "New message from Someone", "NomadCrew"),
    ("NEW_CHAT_MESSAGE", {"senderName": "Ana"}, "New message from Ana", "NomadCrew"),
    ("LOCATION_SHARED", {"memberName": "Ben", "tripName": "Porto", "change": "started"},
     "Ben shares their location on Porto", "NomadCrew"),
    ("LOCATION_SHARED", {"memberName": "Ben", "placeName": "the meeting point", "change": "arrived"},
     "Ben arrived at the meeting point", "NomadCrew"),
    ("EXPENSE_REPORT_SUBMITTED", {}, "You have a new notification", "NomadCrew"),
]  # fmt: skip


@pytest.mark.contract("rest-activity.notifications.texts")
@pytest.mark.parametrize(("type_", "metadata", "sentence", "title"), TEXTS)
def test_the_text_of_a_notification(type_: str, metadata: dict[str, Any], sentence: str, title: str) -> None:
    assert message(type_, metadata) == sentence
    assert push_body(type_, metadata) == sentence
    assert push_title(type_, metadata) == title


def test_a_push_shows_the_message_and_a_list_does_not() -> None:
    metadata = {"senderName": "Ana", "messagePreview": "train at nine"}
    assert push_body("CHAT_MESSAGE", metadata) == "train at nine"
    assert message("CHAT_MESSAGE", metadata) == "New message from Ana"


FAMILY = "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        ("x" * 98 + "  y" + "z" * 50, "x" * 98 + "…"),
        ("x" * 98 + "e\u0301" + "z" * 50, "x" * 98 + "…"),
        ("x" * 97 + FAMILY + "z", "x" * 97 + "…"),
        ("x" * 98 + "👍🏽" + "z" * 50, "x" * 98 + "…"),
        ("日" * 200, "日" * 99 + "…"),
    ],
)
def test_a_preview_never_splits_a_visible_character(text: str, expected: str) -> None:
    found = preview(text)
    assert found == expected
    assert len(found) <= 100


@pytest.mark.parametrize(
    ("attachment", "description"),
    [
        (None, ""),
        ({"type": "image/webp"}, "sent a photo"),
        ({"type": "application/pdf"}, "sent a document"),
    ],
)
def test_an_attachment_without_text_is_described(attachment: dict[str, str] | None, description: str) -> None:
    assert sent_file(attachment) == description
