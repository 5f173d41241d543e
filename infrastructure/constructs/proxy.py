"""Access to SQL through RDS Proxy: shared connections; the functions run in the database's VPC."""

from aws_cdk import ArnFormat, CfnOutput, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infrastructure.config import APPLICATION_USER
from infrastructure.grants import ResourceRefs

POSTGRES_PORT = 5432
HTTPS_PORT = 443
# Services that functions in the VPC call besides SQL; DynamoDB and S3 have gateway endpoints, which are free.
INTERFACES = ("appconfigdata", "cognito-idp", "email", "events", "secretsmanager", "sqs", "xray")


class SqlProxy(Construct):
    """The proxy, the functions' security group, and a VPC endpoint for each service they call."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        places: ResourceRefs,
        vpc: ec2.IVpc,
        cluster: rds.DatabaseCluster,
        application: secretsmanager.ISecret,
    ) -> None:
        super().__init__(scope, id_)
        stage, stack = places.stage, Stack.of(self)
        self.functions = ec2.SecurityGroup(
            self, "Functions", vpc=vpc, description="Functions that use SQL", allow_all_outbound=False
        )
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="The proxy in front of the cluster", allow_all_outbound=False
        )
        group.add_ingress_rule(self.functions, ec2.Port.tcp(POSTGRES_PORT), "SQL from functions")
        group.add_egress_rule(
            cluster.connections.security_groups[0], ec2.Port.tcp(POSTGRES_PORT), "SQL to the cluster"
        )
        self.functions.add_egress_rule(group, ec2.Port.tcp(POSTGRES_PORT), "SQL to the proxy")
        assert cluster.secret is not None
        proxy = cluster.add_proxy(
            "Proxy",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            # The owner's is for functions of the previous version during a deployment; no role may connect with it.
            secrets=[application, cluster.secret],
            security_groups=[group],
            db_proxy_name=stage.named("proxy"),
            require_tls=True,
            iam_auth=True,
        )
        places.values |= {
            "NOMADCREW_AWS_PROXY_HOST": proxy.endpoint,
            "NOMADCREW_AWS_PROXY_USER": APPLICATION_USER,
        }
        resource_id = stack.split_arn(proxy.db_proxy_arn, ArnFormat.COLON_RESOURCE_NAME).resource_name
        places.arns["proxy-user"] = (
            f"arn:{stack.partition}:rds-db:{stack.region}:{stack.account}:dbuser:{resource_id}/{APPLICATION_USER}"
        )
        self._endpoints(vpc)
        CfnOutput(self, "Host", value=proxy.endpoint)

    def _endpoints(self, vpc: ec2.IVpc) -> None:
        endpoints = ec2.SecurityGroup(
            self, "Endpoints", vpc=vpc, description="Endpoints of services", allow_all_outbound=False
        )
        endpoints.add_ingress_rule(self.functions, ec2.Port.tcp(HTTPS_PORT), "Calls from functions")
        self.functions.add_egress_rule(endpoints, ec2.Port.tcp(HTTPS_PORT), "Calls to services")
        stack = Stack.of(self)
        for service in INTERFACES:
            ec2.InterfaceVpcEndpoint(
                self,
                f"To{service.title().replace('-', '')}",
                vpc=vpc,
                service=ec2.InterfaceVpcEndpointService(f"com.amazonaws.{stack.region}.{service}", HTTPS_PORT),
                security_groups=[endpoints],
                subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
                private_dns_enabled=True,
                open=False,
            )
        for gateway in (ec2.GatewayVpcEndpointAwsService.DYNAMODB, ec2.GatewayVpcEndpointAwsService.S3):
            endpoint = ec2.GatewayVpcEndpoint(
                self,
                f"To{gateway.name.rpartition('.')[2].capitalize()}",
                vpc=vpc,
                service=gateway,
                subnets=[ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)],
            )
            endpoint.add_to_policy(
                iam.PolicyStatement(
                    principals=[iam.AnyPrincipal()],
                    actions=["*"],
                    resources=["*"],
                    conditions={"StringEquals": {"aws:PrincipalAccount": stack.account}},
                )
            )
