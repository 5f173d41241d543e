"""All persistent data: the cluster, tables, buckets and secrets. Changes of code do not change this stack."""

from aws_cdk import CfnOutput, CfnTag, Duration, Fn, RemovalPolicy, SecretValue, Stack, Tags
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_timestream as timestream
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.config import APPLICATION_USER
from infrastructure.constructs.buckets import make_buckets
from infrastructure.constructs.proxy import SqlProxy
from infrastructure.grants import OUTSIDE_SECRETS, OWN_SECRETS, ResourceRefs

VPC_CIDR = "10.0.0.0/16"
SUBNET_CIDRS = ("10.0.0.0/24", "10.0.1.0/24")
# The owner of the schema, for the migrator only.
OWNER = "nomadcrew"
CACHE_USER = "nomadcrew"
# Once there was one secret for everything. It is that of links now, so that mailed links stay valid; docs/aws.md
# tells how its key gets into the others.
SECRET_IDS = {"links": "Secret"}
SECRET_NAMES = {"links": "key"}
ENGINE = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_9)


class DatabaseStack(Stack):
    """Persistent data."""

    def __init__(self, scope: Construct, id_: str, *, places: ResourceRefs, **stack: object) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.places = places
        self.stage = places.stage
        self.vpc = self._network()
        self.cluster, application = self._cluster()
        self.proxy = None
        if self.stage.database.access == "proxy":
            self.proxy = SqlProxy(self, "Proxy", places, self.vpc, self.cluster, application)
        self._tables()
        make_buckets(self, places)
        self._topics()
        self._secrets()
        if self.stage.cache == "valkey":
            self._cache()

    def _network(self) -> ec2.IVpc:
        """Two isolated subnets: the cluster requires a VPC; nothing else runs in it."""
        vpc = ec2.CfnVPC(self, "Vpc", cidr_block=VPC_CIDR, enable_dns_hostnames=True, enable_dns_support=True)
        acknowledge(
            vpc,
            {"VPC7": "Only the cluster is in it, and the Data API accesses that from within AWS."},
        )
        Tags.of(vpc).add("Name", self.stage.named("database"))
        zones = [Fn.select(n, Fn.get_azs()) for n in range(len(SUBNET_CIDRS))]
        subnets = [
            ec2.CfnSubnet(
                self,
                f"Subnet{n + 1}",
                vpc_id=vpc.attr_vpc_id,
                availability_zone=zones[n],
                cidr_block=cidr,
                tags=[CfnTag(key="Name", value=self.stage.named(f"database-{n + 1}"))],
            )
            for n, cidr in enumerate(SUBNET_CIDRS)
        ]
        tables = []
        for n, subnet in enumerate(subnets, 1):
            table = ec2.CfnRouteTable(self, f"Routes{n}", vpc_id=vpc.attr_vpc_id)
            ec2.CfnSubnetRouteTableAssociation(
                self,
                f"RoutesOfSubnet{n}",
                route_table_id=table.attr_route_table_id,
                subnet_id=subnet.attr_subnet_id,
            )
            tables.append(table.attr_route_table_id)
        return ec2.Vpc.from_vpc_attributes(
            self,
            "Network",
            vpc_id=vpc.attr_vpc_id,
            vpc_cidr_block=VPC_CIDR,
            availability_zones=zones,
            isolated_subnet_ids=[subnet.attr_subnet_id for subnet in subnets],
            isolated_subnet_route_table_ids=tables,
        )

    def _cluster(self) -> tuple[rds.DatabaseCluster, secretsmanager.ISecret]:
        """The cluster, and the secret of the user for rows."""
        numbers = self.stage.database
        cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            cluster_identifier=self.stage.named("database"),
            engine=ENGINE,
            default_database_name=numbers.name,
            credentials=rds.Credentials.from_generated_secret(OWNER, secret_name=self.stage.named("database")),
            writer=rds.ClusterInstance.serverless_v2("Writer", enable_performance_insights=False),
            readers=[rds.ClusterInstance.serverless_v2("Reader", scale_with_writer=True)] if numbers.reader else [],
            serverless_v2_min_capacity=numbers.min_acu,
            serverless_v2_max_capacity=numbers.max_acu,
            serverless_v2_auto_pause_duration=(
                None if numbers.pause_after_s is None else Duration.seconds(numbers.pause_after_s)
            ),
            vpc=self.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            enable_data_api=True,
            iam_authentication=True,
            storage_encrypted=True,
            backup=rds.BackupProps(retention=Duration.days(numbers.backup_days)),
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            removal_policy=RemovalPolicy.SNAPSHOT,
            cloudwatch_logs_exports=["postgresql"],
        )
        assert cluster.secret is not None
        application = self._application_user(cluster)
        self.places.values |= {
            "NOMADCREW_AWS_SQL": numbers.access,
            "NOMADCREW_AWS_CLUSTER_ARN": cluster.cluster_arn,
            "NOMADCREW_AWS_DATABASE_SECRET_ARN": application.secret_arn,
            "NOMADCREW_AWS_OWNER_SECRET_ARN": cluster.secret.secret_arn,
            "NOMADCREW_AWS_DATABASE": numbers.name,
            "NOMADCREW_AWS_CACHE": self.stage.cache,
        }
        self.places.arns |= {
            "cluster": cluster.cluster_arn,
            "database-secret": application.secret_arn,
            "owner-secret": cluster.secret.secret_arn,
        }
        CfnOutput(self, "ClusterArn", value=cluster.cluster_arn)
        CfnOutput(self, "DatabaseSecretArn", value=application.secret_arn)
        acknowledge(
            cluster,
            {
                "SMG4": "Rotation needs a function in the VPC; the Data API reads the secret at"
                " each call, so it can be rotated manually at any time.",
                "RDS11": "The port does not matter: the cluster is not reachable from outside AWS.",
                "RDS6": "IAM authentication is on; the rule reads a property of instances.",
            },
        )
        return cluster, application

    def _application_user(self, cluster: rds.DatabaseCluster) -> secretsmanager.ISecret:
        """The secret of the user who may only read and write rows; the migrator creates the user."""
        secret = rds.DatabaseSecret(
            self, "ApplicationUser", username=APPLICATION_USER, secret_name=self.stage.named("database-application")
        )
        acknowledge(secret, {"SMG4": "Rotated by hand: store a new password, then invoke the migrator."})
        return secret.attach(cluster)

    def _tables(self) -> None:
        self._table(
            "UserSessions", "SESSIONS", "sessions", key="userId", sort="sessionId", ttl="expiresAt",
            index=("SessionByToken", "sessionToken", None),
        )  # fmt: skip
        self._table(
            "UserProfiles", "PROFILES", "profiles", key="userId", ttl="ttl",
            stream=dynamodb.StreamViewType.NEW_IMAGE,
        )  # fmt: skip
        self._table(
            "ChatMessages", "CHAT", "chat", key="tripId", sort="sortKey", ttl="ttl",
            index=("MessagesByUser", "userId", "sortKey"), stream=dynamodb.StreamViewType.NEW_IMAGE,
        )  # fmt: skip
        self._table(
            "WebSocketConnections", "CONNECTIONS", "connections", key="connectionId", ttl="ttl",
            index=("ByUser", "userId", "connectionId"), whole=True,
        )  # fmt: skip
        self._table("Presence", "PRESENCE", "presence", key="userId", ttl="ttl")
        self._table("LastPositions", "POSITIONS", "positions", key="tripId", sort="userId", ttl="ttl")
        if self.stage.location_store == "dynamodb":
            self._table("LocationHistory", "HISTORY", "history", key="track", sort="bucket", ttl="ttl")
        if self.stage.location_store == "timestream":
            self._time_series()
        self.places.values["NOMADCREW_AWS_PLACES"] = self.stage.places
        self.places.arns["places"] = f"arn:{self.partition}:geo-places:{self.region}::provider/default"
        self.places.values["NOMADCREW_AWS_LOCATION_STORE"] = self.stage.location_store
        self._table("RateLimits", "LIMITS", "limits", key="bucket", ttl="ttl")
        self._table("Weather", "WEATHER", "weather", key="area", ttl="ttl")
        self._table("MailSuppression", "SUPPRESSION", "suppression", key="address")

    def _time_series(self) -> None:
        """A day in memory and a month on disk; late points are written too."""
        database = timestream.CfnDatabase(self, "HistoryDatabase", database_name=self.stage.named("history"))
        table = timestream.CfnTable(
            self,
            "HistoryTable",
            database_name=database.ref,
            table_name="points",
            retention_properties={
                "MemoryStoreRetentionPeriodInHours": "24",
                "MagneticStoreRetentionPeriodInDays": "30",
            },
            magnetic_store_write_properties={"EnableMagneticStoreWrites": True},
        )
        self.places.values |= {
            "NOMADCREW_AWS_HISTORY_DATABASE": self.stage.named("history"),
            "NOMADCREW_AWS_HISTORY_TABLE": "points",
        }
        self.places.arns |= {"history": table.attr_arn, "timestream/*": "*"}
        self.places.wild["timestream/*"] = ("*", "DescribeEndpoints has no resource.")

    def _table(
        self,
        name: str,
        variable: str,
        arn_name: str,
        *,
        key: str,
        ttl: str | None = None,
        sort: str | None = None,
        index: tuple[str, str, str | None] | None = None,
        whole: bool = False,
        stream: dynamodb.StreamViewType | None = None,
    ) -> dynamodb.Table:
        """A table. Its index projects keys only, or the `whole` item if readers filter by other attributes."""
        table = dynamodb.Table(
            self,
            name,
            table_name=self.stage.named(name),
            partition_key=_text(key),
            sort_key=None if sort is None else _text(sort),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            time_to_live_attribute=ttl,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            stream=stream,
        )
        self.places.values[f"NOMADCREW_AWS_{variable}_TABLE"] = table.table_name
        self.places.arns[arn_name] = table.table_arn
        if table.table_stream_arn is not None:
            self.places.arns[f"{arn_name}/stream"] = table.table_stream_arn
        if index is not None:
            index_name, partition, index_sort = index
            table.add_global_secondary_index(
                index_name=index_name,
                partition_key=_text(partition),
                sort_key=None if index_sort is None else _text(index_sort),
                projection_type=dynamodb.ProjectionType.ALL if whole else dynamodb.ProjectionType.KEYS_ONLY,
            )
            self.places.arns[f"{arn_name}/{index_name}"] = f"{table.table_arn}/index/{index_name}"
        CfnOutput(self, f"{name}Table", value=table.table_name)
        return table

    def _topics(self) -> None:
        """Topics need not be created: publishing is enough."""
        prefix = f"nc/{self.stage.name}"
        topics = f":iot:{self.stage.region}:{self.stage.account}:topic/{prefix}/trips/*"
        self.places.values["NOMADCREW_AWS_TOPICS"] = prefix
        self.places.arns["topics/*"] = f"arn:{self.partition}{topics}"
        self.places.wild["topics/*"] = (f"arn:<AWS::Partition>{topics}", "Each trip has a topic.")

    def _secrets(self) -> None:
        """A secret per purpose, so that a function can sign only what is its own; they are kept with the data."""
        for name, description in OWN_SECRETS.items():
            secret = secretsmanager.Secret(
                self,
                SECRET_IDS.get(name, f"{name.capitalize()}Secret"),
                secret_name=self.stage.named(SECRET_NAMES.get(name, f"secret-{name}")),
                description=description,
                generate_secret_string=secretsmanager.SecretStringGenerator(
                    secret_string_template="{}",  # noqa: S106 — the template, not a secret
                    generate_string_key="key",
                    password_length=64,
                    exclude_punctuation=True,
                ),
                removal_policy=RemovalPolicy.RETAIN,
            )
            self._share_secret(name, secret, "Rotation needs the previous key beside the new one: docs/aws.md.")
        for name, description in OUTSIDE_SECRETS.items():
            secret = secretsmanager.Secret(
                self,
                f"{name.capitalize()}Secret",
                secret_name=self.stage.named(f"secret-{name}"),
                description=description,
                secret_string_value=SecretValue.unsafe_plain_text("{}"),  # the operator's value replaces it
                removal_policy=RemovalPolicy.RETAIN,
            )
            self._share_secret(name, secret, "Only the service that issued the key can rotate it.")

    def _share_secret(self, name: str, secret: secretsmanager.Secret, why_unrotated: str) -> None:
        acknowledge(secret, {"SMG4": why_unrotated})
        self.places.values[f"NOMADCREW_AWS_SECRET_{name.upper()}_ARN"] = secret.secret_arn
        self.places.arns[f"secret_{name}"] = secret.secret_arn
        CfnOutput(self, f"Secret{name.capitalize()}Arn", value=secret.secret_arn)

    def _cache(self) -> None:
        """Valkey with a public TLS endpoint and IAM authentication, which needs no VPC."""
        user = elasticache.CfnUser(
            self,
            "CacheUser",
            engine="valkey",
            user_id=self.stage.named("cache"),
            user_name=self.stage.named("cache"),  # IAM requires the same value as the id
            access_string="on ~nomadcrew:* -@all +@read +@write +@connection +@scripting",
            authentication_mode={"Type": "iam"},
        )
        group = elasticache.CfnUserGroup(
            self, "CacheUsers", engine="valkey", user_group_id=self.stage.named("cache"), user_ids=[user.ref]
        )
        cache = elasticache.CfnServerlessCache(
            self,
            "Cache",
            engine="valkey",
            major_engine_version="9",
            serverless_cache_name=self.stage.named("cache"),
            connection_type="public",
            user_group_id=group.ref,
            cache_usage_limits=elasticache.CfnServerlessCache.CacheUsageLimitsProperty(
                data_storage=elasticache.CfnServerlessCache.DataStorageProperty(unit="GB", maximum=1),
                ecpu_per_second=elasticache.CfnServerlessCache.ECPUPerSecondProperty(maximum=10_000),
            ),
        )
        acknowledge(
            cache,
            {"CloudFormation-Validate::F3002": "CDK's schema does not know `ConnectionType` yet."},
        )
        self.places.values |= {
            "NOMADCREW_AWS_CACHE_ENDPOINT": Fn.join(":", [cache.attr_endpoint_address, cache.attr_endpoint_port]),
            "NOMADCREW_AWS_CACHE_USER": self.stage.named("cache"),
        }
        self.places.arns |= {"cache": cache.attr_arn, "cache-user": user.attr_arn}


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
