"""The trip list as a function in Powertools, Pydantic and boto3 on the Data API, for the comparison of cold starts.

Settings: NOMADCREW_AWS_DATABASE.
"""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, import-untyped, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import os
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

from bench.plain_shapes import MemberOut, TripOut

logger = Logger(service="trips")
app = APIGatewayHttpResolver(enable_validation=True)
# A typical function creates its clients once, outside the handler, as AWS's examples do.
database = boto3.client("rds-data")
MY_TRIPS = """
    SELECT t.*, m.id AS membership_id, m.user_id, m.role, m.status AS membership_status,
           m.created_at AS member_since, m.updated_at AS member_updated_at, p.first_name, p.last_name, p.username
    FROM trip_memberships mine
    JOIN trips t ON t.id = mine.trip_id AND t.deleted_at IS NULL
    JOIN trip_memberships m ON m.trip_id = t.id AND m.status = 'ACTIVE'
    JOIN user_profiles p ON p.id = m.user_id
    WHERE mine.user_id = :me::uuid AND mine.status = 'ACTIVE'
    ORDER BY t.start_date DESC, t.id DESC, m.created_at, m.id
"""


@app.get("/v1/trips")
def list_trips() -> list[TripOut]:
    claims = app.current_event.request_context.authorizer.jwt_claim
    return grouped(my_trips(claims["sub"]))


def my_trips(user_id: str) -> Sequence[Any]:
    result = database.execute_statement(
        resourceArn="arn:aws:rds:eu-west-1:000000000000:cluster:bench",
        secretArn="arn:aws:secretsmanager:eu-west-1:000000000000:secret:bench",
        database=os.environ["NOMADCREW_AWS_DATABASE"],
        sql=MY_TRIPS,
        parameters=[{"name": "me", "value": {"stringValue": user_id}}],
        includeResultMetadata=True,
    )
    names = [column["label"] for column in result["columnMetadata"]]
    return [dict(zip(names, map(plain, record), strict=True)) for record in result["records"]]


def plain(field: dict[str, Any]) -> Any:
    [(kind, value)] = field.items()
    return None if kind == "isNull" else value


def grouped(rows: Sequence[Any]) -> list[TripOut]:
    trips: dict[uuid.UUID, TripOut] = {}
    for row in rows:
        trip = trips.get(row["id"])
        if trip is None:
            values = {
                **row,
                "start_date": midnight(row["start_date"]),
                "end_date": midnight(row["end_date"]),
                "participant_count": row["member_count"],
                "members": [],
                "created_by_name": None,
            }
            trip = trips[row["id"]] = TripOut(**values)
        trip.members.append(member(row))
    return list(trips.values())


def member(row: Any) -> MemberOut:
    return MemberOut(
        id=row["membership_id"],
        trip_id=row["id"],
        user_id=row["user_id"],
        role=row["role"],
        status=row["membership_status"],
        created_at=row["member_since"],
        updated_at=row["member_updated_at"],
        name=f"{row['first_name']} {row['last_name']}".strip() or row["username"],
    )


def midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    return app.resolve(event, context)
