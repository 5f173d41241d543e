"""The audit log in S3: one object per batch, in a folder per day; a repeated batch overwrites itself."""

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.audit import S3AuditLog
from nomadcrew.adapters.aws.sdk.services import S3
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import uuid7
from nomadcrew.wire.events import unpack
from tests.contract.cloud import Cloud
from tests.fakes import NOON, an_event


@pytest_asyncio.fixture(loop_scope="session")
async def bucket(cloud: Cloud) -> str:
    name = f"audit-{uuid7()}"
    cloud.aws.boto("s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": cloud.aws.environment["AWS_REGION"]}
    )
    return name


def stored_lines(cloud: Cloud, bucket: str) -> dict[str, list[str]]:
    """The lines of every object, by name."""
    s3 = cloud.aws.boto("s3")
    names = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read().decode().splitlines() for name in names}


async def test_a_batch_is_one_object_with_one_event_per_line(cloud: Cloud, bucket: str) -> None:
    events = sorted((an_event(payload='{"name":"Zürich\\n"}') for _ in range(3)), key=lambda event: event.id)
    await S3AuditLog(cloud.client(S3), bucket).save(events)
    [(name, lines)] = stored_lines(cloud, bucket).items()
    assert name.startswith(f"events/2026/07/01/{events[0].id}-")
    assert [unpack(line) for line in lines] == events


async def test_a_repeated_batch_in_any_order_is_the_same_object(cloud: Cloud, bucket: str) -> None:
    audit, events = S3AuditLog(cloud.client(S3), bucket), [an_event() for _ in range(3)]
    await audit.save(events)
    await audit.save([*reversed(events), events[1]])
    assert [len(lines) for lines in stored_lines(cloud, bucket).values()] == [3]


async def test_a_batch_with_the_same_first_event_overwrites_nothing(cloud: Cloud, bucket: str) -> None:
    audit = S3AuditLog(cloud.client(S3), bucket)
    events = sorted((an_event() for _ in range(3)), key=lambda event: event.id)
    await audit.save(events)
    await audit.save(events[:2])
    assert sorted(len(lines) for lines in stored_lines(cloud, bucket).values()) == [2, 3]


async def test_each_day_has_its_own_objects(cloud: Cloud, bucket: str) -> None:
    events = [an_event(), an_event(occurred_at=NOON.replace(day=2))]
    await S3AuditLog(cloud.client(S3), bucket).save(events)
    assert [name[:17] for name in sorted(stored_lines(cloud, bucket))] == ["events/2026/07/01", "events/2026/07/02"]


async def test_a_missing_bucket_is_an_outage(cloud: Cloud) -> None:
    with pytest.raises(Unavailable):
        await S3AuditLog(cloud.client(S3), f"missing-{uuid7()}").save([an_event()])
