"""The tables as SQLAlchemy models, for `bench.plain_fastapi`."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import FetchedValue, ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import DateTime

from nomadcrew.core.notifications.texts import message


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012 — as SQLAlchemy's manual writes it


class User(Base):
    __tablename__ = "user_profiles"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    username: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    avatar_url: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    preferences: Mapped[dict[str, Any]] = mapped_column(JSONB)
    location_privacy_preference: Mapped[str | None]

    @property
    def display_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.username


class Account(Base):
    __tablename__ = "accounts"
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    password_hash: Mapped[str]
    user: Mapped[User] = relationship()


class Notification(Base):
    __tablename__ = "notifications"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"))
    type: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB)
    read: Mapped[bool] = mapped_column("is_read")
    at: Mapped[datetime] = mapped_column("created_at")

    @property
    def created_at(self) -> datetime:
        return self.at.replace(microsecond=0)

    @property
    def message(self) -> str:
        return message(self.type, self.details)


class Session(Base):
    __tablename__ = "sessions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    refresh_tokens: Mapped[list["RefreshToken"]] = relationship()


class RefreshToken(Base):
    __tablename__ = "refresh_tokens"
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sessions.id"))
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Trip(Base):
    __tablename__ = "trips"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str]
    destination_place_id: Mapped[str | None]
    destination_address: Mapped[str | None]
    destination_name: Mapped[str | None]
    destination_latitude: Mapped[float]
    destination_longitude: Mapped[float]
    start_day: Mapped[date] = mapped_column("start_date")
    end_day: Mapped[date] = mapped_column("end_date")
    status: Mapped[str]
    created_by: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    background_image_url: Mapped[str]
    timezone: Mapped[str]
    participant_count: Mapped[int] = mapped_column("member_count")
    background_photographer: Mapped[str | None]
    background_page_url: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    members: Mapped[list["Membership"]] = relationship(
        primaryjoin="and_(Trip.id == Membership.trip_id, Membership.status == 'ACTIVE')",
        order_by="(Membership.created_at, Membership.id)",
        viewonly=True,
    )

    @property
    def start_date(self) -> datetime:
        return datetime.combine(self.start_day, time(), UTC)

    @property
    def end_date(self) -> datetime:
        return datetime.combine(self.end_day, time(), UTC)

    @property
    def background_image_credit(self) -> dict[str, str] | None:
        if self.background_photographer is None or self.background_page_url is None:
            return None
        return {"photographer": self.background_photographer, "url": self.background_page_url, "source": "Pexels"}

    @property
    def created_by_name(self) -> str | None:
        return next((m.name for m in self.members if m.user_id == self.created_by), None)


class Membership(Base):
    __tablename__ = "trip_memberships"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"))
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"))
    role: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    joined_at: Mapped[datetime]
    user: Mapped[User] = relationship()
    sharing: Mapped["Sharing | None"] = relationship(
        primaryjoin="and_(Membership.trip_id == foreign(Sharing.trip_id), "
        "Membership.user_id == foreign(Sharing.user_id))",
        uselist=False,
        viewonly=True,
    )
    last_position: Mapped["LastPosition | None"] = relationship(
        primaryjoin="and_(Membership.trip_id == foreign(LastPosition.trip_id), "
        "Membership.user_id == foreign(LastPosition.user_id))",
        uselist=False,
        viewonly=True,
    )

    @property
    def name(self) -> str:
        return self.user.display_name


class Todo(Base):
    __tablename__ = "todos"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"))
    text: Mapped[str]
    status: Mapped[str]
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Thread(Base):
    __tablename__ = "chat_threads"
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"), primary_key=True)
    last_seq: Mapped[int]
    last_at: Mapped[datetime]


class ChatMessage(Base):
    __tablename__ = "chat_messages"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"))
    seq: Mapped[int]
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("user_profiles.id"))
    body: Mapped[str]
    folded: Mapped[str]
    reply_to_id: Mapped[uuid.UUID | None]
    event_id: Mapped[uuid.UUID]
    created_at: Mapped[datetime]
    edited_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    sender: Mapped[User | None] = relationship()
    reactions: Mapped[list["Reaction"]] = relationship(order_by="Reaction.created_at")


class Reaction(Base):
    __tablename__ = "chat_reactions"
    message_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("chat_messages.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    emoji: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class Receipt(Base):
    __tablename__ = "chat_receipts"
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    message_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("chat_messages.id"))
    seq: Mapped[int]
    read_at: Mapped[datetime]


class Sharing(Base):
    __tablename__ = "location_sharing"
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    is_enabled: Mapped[bool]
    privacy: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]


class LastPosition(Base):
    __tablename__ = "last_positions"
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    latitude: Mapped[float]
    longitude: Mapped[float]
    accuracy_m: Mapped[float | None]
    speed_mps: Mapped[float | None]
    heading_deg: Mapped[float | None]
    recorded_at: Mapped[datetime]
    received_at: Mapped[datetime]
    privacy: Mapped[str]


class PastPosition(Base):
    __tablename__ = "location_history"
    trip_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(primary_key=True)
    latitude: Mapped[float]
    longitude: Mapped[float]
    accuracy_m: Mapped[float | None]
    received_at: Mapped[datetime]
    privacy: Mapped[str]
    is_jump: Mapped[bool]


class Poll(Base):
    __tablename__ = "polls"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    trip_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("trips.id"))
    question: Mapped[str]
    allow_multiple_votes: Mapped[bool]
    status: Mapped[str]
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"))
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    options: Mapped[list["PollOption"]] = relationship(order_by="PollOption.position")


class PollOption(Base):
    __tablename__ = "poll_options"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    poll_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("polls.id"))
    text: Mapped[str]
    position: Mapped[int]
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"))
    created_at: Mapped[datetime]
    votes: Mapped[list["PollVote"]] = relationship(order_by="(PollVote.created_at, PollVote.user_id)")


class PollVote(Base):
    __tablename__ = "poll_votes"
    poll_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    slot: Mapped[uuid.UUID] = mapped_column(FetchedValue(), primary_key=True)
    option_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("poll_options.id"))
    is_single: Mapped[bool]
    created_at: Mapped[datetime]
