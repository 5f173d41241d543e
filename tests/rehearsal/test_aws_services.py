"""Behaviour of AWS services: replies of API Gateway, files of the audit, the SNS topic."""

import json
from typing import Any

from rehearsal.running import Rehearsal
from tests.e2e.client import Api, eventually
from tests.e2e.conftest import Register
from tests.rehearsal.sdk import client

ORIGIN = "https://app.nomadcrew.test"


async def test_cors_allows_the_apps_origin_only(api: Api) -> None:
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    allowed = await api.send("OPTIONS", "/v1/trips", headers={"origin": ORIGIN, **preflight})
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
    other = await api.send("OPTIONS", "/v1/trips", headers={"origin": "https://elsewhere.test", **preflight})
    assert "access-control-allow-origin" not in other.headers


async def test_api_gateway_refuses_missing_and_forged_tokens(api: Api, register: Register) -> None:
    ana = await register("ana")
    assert (await api.send("GET", "/v1/trips")).status_code == 401
    for token in ("garbage", ana.token[:-4] + "AAAA"):
        reply = await api.send("GET", "/v1/trips", headers={"authorization": f"Bearer {token}"})
        assert reply.status_code == 401


async def test_an_unknown_route_gets_the_error_body(api: Api) -> None:
    reply = await api.send("GET", "/v1/nowhere")
    assert (reply.status_code, reply.json()["code"]) == (404, "route_not_found")
    assert reply.headers["x-request-id"]


async def test_the_audit_stores_every_event(rehearsal: Rehearsal, register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    s3 = client(rehearsal, "s3")
    [bucket] = [one["Name"] for one in s3.list_buckets()["Buckets"] if "audit" in one["Name"]]

    async def stored_lines() -> list[str]:
        found = []
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                text = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
                found += [line for line in text.splitlines() if trip_id in line]
        return found

    lines = await eventually(stored_lines)
    assert json.loads(lines[0])["type"] == "TRIP_CREATED"


async def test_trip_events_reach_the_sns_topic(rehearsal: Rehearsal, register: Register) -> None:
    sqs, sns = client(rehearsal, "sqs"), client(rehearsal, "sns")
    url = sqs.create_queue(QueueName="listens")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    [topic] = [one["TopicArn"] for one in sns.list_topics()["Topics"]]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    trip_id = await (await register("ana")).new_trip()

    async def received() -> Any:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            event = json.loads(message["Body"])
            if trip_id in message["Body"]:
                return event
        return None

    event = await eventually(received)
    assert (event["source"], event["detail-type"]) == ("nomadcrew.trips", "Trip Created")
