"""The HTTP API: a route for each row of the route table, to the alias of its function.

HEAD has a route beside GET, and every path one for its other methods, which answers 405.
"""

import re

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.constructs.service_function import (
    ServiceFunction,
    Workshop,
    execute_api_arn,
    integration_uri,
    log_group,
)
from infrastructure.stacks.compute import ComputeStack
from infrastructure.stacks.endpoints import EndpointsStack
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.web.routes import Auth, Route

# Handles requests without a route, and replies with the usual error body.
# It also refuses the methods that a path does not have.
FALLBACK = "pages"
AUTHORIZER = "http_authorizer"
# A deleted API key is accepted for as long. Functions check the ends of sessions and tokens themselves.
AUTHORIZED_S = 60
TIMEOUT_MS = 15_000
# Without path and query: both may contain secrets of links.
ACCESS_LOG = (
    '{"requestId":"$context.requestId","time":"$context.requestTime","routeKey":"$context.routeKey",'
    '"status":"$context.status","responseLength":"$context.responseLength",'
    '"latencyMs":"$context.responseLatency","integrationLatencyMs":"$context.integrationLatency",'
    '"integrationError":"$context.integrationErrorMessage","authorizerError":"$context.authorizer.error"}'
)


class ApiStack(Stack):
    """The API that clients call."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workshop: Workshop,
        compute: ComputeStack,
        endpoints: EndpointsStack,
        **stack: object,
    ) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.stage, self.api_id = workshop.stage, endpoints.http.ref
        authorizer = apigateway.CfnAuthorizer(
            self,
            "Authorizer",
            api_id=self.api_id,
            name=self.stage.named("http-authorizer"),
            authorizer_type="REQUEST",
            authorizer_uri=integration_uri(self, compute.functions[AUTHORIZER].alias),
            authorizer_payload_format_version="2.0",
            enable_simple_responses=True,
            # Without the header API Gateway answers 401 itself.
            identity_source=["$request.header.Authorization"],
            authorizer_result_ttl_in_seconds=AUTHORIZED_S,
        )
        self._allow(compute.functions[AUTHORIZER], f"authorizers/{authorizer.ref}")
        targets = {
            name: self._integration(compute.functions[name])
            for name in dict.fromkeys(route.function for route in ALL_ROUTES)
        }
        routes = [
            self._route(row, method, targets[row.function], authorizer)
            for row in ALL_ROUTES
            for method in (("GET", "HEAD") if row.method == "GET" else (row.method,))
        ]
        routes.append(self._open("$default", "RouteDefault", targets[FALLBACK]))
        self._stage(routes)

    def _integration(self, function: ServiceFunction) -> apigateway.CfnIntegration:
        """One permission per function: one per route would exceed the policy's size."""
        self._allow(function, "*")
        return apigateway.CfnIntegration(
            self,
            f"{function.spec.name.capitalize()}Integration",
            api_id=self.api_id,
            integration_type="AWS_PROXY",
            integration_uri=integration_uri(self, function.alias),
            payload_format_version="2.0",
            timeout_in_millis=TIMEOUT_MS,
        )

    def _allow(self, function: ServiceFunction, source: str) -> None:
        lambda_.CfnPermission(
            self,
            f"{function.spec.name.capitalize()}Permission",
            action="lambda:InvokeFunction",
            function_name=function.alias.function_arn,
            principal="apigateway.amazonaws.com",
            source_arn=execute_api_arn(self, self.api_id, source),
        )

    def _route(
        self, row: Route, method: str, target: apigateway.CfnIntegration, authorizer: apigateway.CfnAuthorizer
    ) -> apigateway.CfnRoute:
        key, id_ = f"{method} {row.path}", _id_of(method, row.path)
        if row.auth == Auth.PUBLIC:
            return self._open(key, id_, target)
        return apigateway.CfnRoute(
            self,
            id_,
            api_id=self.api_id,
            route_key=key,
            target=f"integrations/{target.ref}",
            authorization_type="CUSTOM",
            authorizer_id=authorizer.ref,
        )

    def _open(self, key: str, id_: str, target: apigateway.CfnIntegration) -> apigateway.CfnRoute:
        route = apigateway.CfnRoute(
            self,
            id_,
            api_id=self.api_id,
            route_key=key,
            target=f"integrations/{target.ref}",
            authorization_type="NONE",
        )
        acknowledge(route, {"APIG4": "Public by design: sign-in, links in mails, unknown paths and methods."})
        return route

    def _stage(self, routes: list[apigateway.CfnRoute]) -> None:
        """All throttles are for all callers together; limits per address are the functions' own."""
        logs = log_group(self, "AccessLogs", f"/aws/vendedlogs/{self.stage.named('http')}", self.stage)
        stage = apigateway.CfnStage(
            self,
            "Stage",
            api_id=self.api_id,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=logs.log_group_arn, format=ACCESS_LOG
            ),
            route_settings={
                str(route.route_key): {
                    "ThrottlingRateLimit": max(1, int(self.stage.api_rate * self.stage.open_share)),
                    "ThrottlingBurstLimit": max(1, int(self.stage.api_burst * self.stage.open_share)),
                    "DetailedMetricsEnabled": True,
                }
                for route in routes
                if route.authorization_type == "NONE"
            },
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=self.stage.api_rate,
                throttling_burst_limit=self.stage.api_burst,
                detailed_metrics_enabled=True,
            ),
        )
        for route in routes:
            stage.node.add_dependency(route)


def _id_of(method: str, path: str) -> str:
    """`POST /v1/trips/{id}/todos` → `RoutePostV1TripsIdTodos`."""
    words = re.findall(r"[A-Za-z0-9]+", f"{method} {path}")
    return "Route" + "".join(word[0].upper() + word[1:].lower() if word.isupper() else word[0].upper() + word[1:]
                             for word in words)  # fmt: skip
