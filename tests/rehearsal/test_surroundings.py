"""What only AWS has: the gateway's own answers, the audit's files, the topic."""

import json
from typing import Any

from rehearsal.running import Rehearsal
from tests.e2e.client import Api, eventually
from tests.e2e.conftest import Register
from tests.rehearsal.account import client

ORIGIN = "https://app.nomadcrew.test"


async def test_pages_of_the_app_may_call_and_others_may_not(api: Api) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    ours = await api.send("OPTIONS", "/v1/trips", headers={"origin": ORIGIN, **asked})
    assert ours.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in ours.headers["access-control-allow-headers"].lower()
    other = await api.send("OPTIONS", "/v1/trips", headers={"origin": "https://elsewhere.test", **asked})
    assert "access-control-allow-origin" not in other.headers


async def test_the_gateway_lets_nobody_in_without_a_token_of_ours(api: Api, register: Register) -> None:
    ana = await register("ana")
    assert (await api.send("GET", "/v1/trips")).status_code == 401
    for token in ("garbage", ana.token[:-4] + "AAAA"):
        reply = await api.send("GET", "/v1/trips", headers={"authorization": f"Bearer {token}"})
        assert reply.status_code == 401


async def test_an_unknown_route_is_answered_with_the_error_body(api: Api) -> None:
    reply = await api.send("GET", "/v1/nowhere")
    assert (reply.status_code, reply.json()["code"]) == (404, "route_not_found")
    assert reply.headers["x-request-id"]


async def test_every_event_is_kept_for_the_audit(rehearsal: Rehearsal, register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    s3 = client(rehearsal, "s3")
    [bucket] = [one["Name"] for one in s3.list_buckets()["Buckets"] if "audit" in one["Name"]]

    async def kept() -> list[str]:
        found = []
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                text = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
                found += [line for line in text.splitlines() if trip_id in line]
        return found

    lines = await eventually(kept)
    assert json.loads(lines[0])["type"] == "TRIP_CREATED"


async def test_what_happens_to_trips_is_published(rehearsal: Rehearsal, register: Register) -> None:
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

    async def heard() -> Any:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            event = json.loads(message["Body"])
            if trip_id in message["Body"]:
                return event
        return None

    event = await eventually(heard)
    assert (event["source"], event["detail-type"]) == ("nomadcrew.trips", "Trip Created")
