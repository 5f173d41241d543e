"""The buckets: users' files, the audit, and the access logs of both."""

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_s3 as s3

from infrastructure.acknowledge import acknowledge
from infrastructure.config import ARCHIVE_DAYS, CORS_MAX_AGE_S, Stage
from infrastructure.grants import ResourceRefs

FOLDERS = (
    ("attachments", "Objects are named by trip and file id."),
    ("documents", "Objects are named by document id."),
    ("exports", "Objects are named by export id."),
    ("pictures", "Objects are named by picture id."),
)


def make_buckets(stack: Stack, places: ResourceRefs) -> None:
    """Make all buckets and name them in `places`."""
    stage = places.stage
    logs = _bucket(stack, stage, "Access", lifecycle=[s3.LifecycleRule(expiration=Duration.days(90))])
    acknowledge(logs, {"S1": "It has the access logs; logging access to it would never end."})
    media = _bucket(stack, stage, "Media", logs=logs, lifecycle=_lifecycle_of_media())
    for methods, origins in (
        ([s3.HttpMethods.POST], list(stage.allowed_origins)),
        # A browser that follows our redirect sends the origin `null`. The signature of the link decides.
        ([s3.HttpMethods.GET, s3.HttpMethods.HEAD], ["*"]),
    ):
        media.add_cors_rule(
            allowed_methods=methods, allowed_origins=origins, allowed_headers=["*"], max_age=CORS_MAX_AGE_S
        )
    audit = _bucket(stack, stage, "Audit", logs=logs, lifecycle=_lifecycle_of_audit())
    places.values["NOMADCREW_AWS_AUDIT_BUCKET"] = audit.bucket_name
    places.values["NOMADCREW_AWS_MEDIA_BUCKET"] = media.bucket_name
    _name_objects(places, stack.partition, "Audit", "", "audit", "Objects are named by day and event id.")
    for folder, names in FOLDERS:
        _name_objects(places, stack.partition, "Media", f"{folder}/", folder, names)
    CfnOutput(stack, "AuditBucketName", value=audit.bucket_name)
    CfnOutput(stack, "MediaBucketName", value=media.bucket_name)


def _lifecycle_of_audit() -> list[s3.LifecycleRule]:
    """A rule that deletes old events: they name users, also those who were erased meanwhile."""
    return [
        s3.LifecycleRule(
            id="old",
            expiration=Duration.days(ARCHIVE_DAYS),
            noncurrent_version_expiration=Duration.days(1),
        )
    ]


def _lifecycle_of_media() -> list[s3.LifecycleRule]:
    """Rules that delete unfinished uploads, old versions and temporary files, never users' originals."""
    return [
        s3.LifecycleRule(
            id="cold",
            transitions=[
                s3.Transition(storage_class=s3.StorageClass.INTELLIGENT_TIERING, transition_after=Duration.days(0))
            ],
        ),
        # A deleted file leaves no version for long.
        *(
            s3.LifecycleRule(id=folder, prefix=f"{folder}/", noncurrent_version_expiration=Duration.days(1))
            for folder in ("attachments", "documents", "pictures")
        ),
        # Archives expire after a day; a job deletes them.
        s3.LifecycleRule(
            id="exports",
            prefix="exports/",
            expiration=Duration.days(2),
            noncurrent_version_expiration=Duration.days(1),
            abort_incomplete_multipart_upload_after=Duration.days(1),
        ),
        s3.LifecycleRule(id="unfinished", prefix="tmp/", expiration=Duration.days(7)),
    ]


def _bucket(
    stack: Stack, stage: Stage, name: str, *, lifecycle: list[s3.LifecycleRule], logs: s3.Bucket | None = None
) -> s3.Bucket:
    always = s3.LifecycleRule(
        id="leftovers",
        abort_incomplete_multipart_upload_after=Duration.days(1),
        noncurrent_version_expiration=Duration.days(30),
    )
    return s3.Bucket(
        stack,
        f"{name}Bucket",
        bucket_name=_bucket_name(stage, name),
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        versioned=True,
        lifecycle_rules=[*lifecycle, always],
        removal_policy=RemovalPolicy.RETAIN,
        server_access_logs_bucket=logs,
        server_access_logs_prefix=None if logs is None else f"{name.lower()}/",
    )


def _bucket_name(stage: Stage, name: str) -> str:
    """Bucket names are global, so ours contain the account and the region."""
    return f"{stage.named(name.lower())}-{stage.account}-{stage.region}"


def _name_objects(places: ResourceRefs, partition: str, bucket: str, folder: str, name: str, reason: str) -> None:
    """Let functions be granted the objects of a folder of a bucket, as `<name>/*`."""
    objects = f":s3:::{_bucket_name(places.stage, bucket)}/{folder}*"
    places.arns[f"{name}/*"] = f"arn:{partition}{objects}"
    places.wild[f"{name}/*"] = (f"arn:<AWS::Partition>{objects}", reason)
