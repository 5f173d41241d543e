"""The tables as SQLAlchemy models, for `bench.plain_fastapi`."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import UTC, date, datetime, time

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import DateTime


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

    @property
    def display_name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip() or self.username


class Account(Base):
    __tablename__ = "accounts"
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user_profiles.id"), primary_key=True)
    password_hash: Mapped[str]
    user: Mapped[User] = relationship()


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
    participant_count: Mapped[int] = mapped_column("member_count")
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
    user: Mapped[User] = relationship()

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
