"""The WebSocket API: its authorizer, its routes, and the functions that send to sockets."""

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_iot as iot
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.config import SOCKET_STAGE
from infrastructure.constructs.schedule import Scheduled
from infrastructure.constructs.service_function import (
    ServiceFunction,
    Workshop,
    execute_api_arn,
    integration_uri,
)
from infrastructure.constructs.source import consume, follow
from infrastructure.stacks.endpoints import EndpointsStack
from infrastructure.stacks.messaging import MessagingStack

NO_LOGS = "Access logs of WebSocket APIs need an account-wide role; the function logs every frame."
ROUTES = (
    "$connect", "$disconnect", "$default", "ping", "subscribe", "unsubscribe", "sendMessage", "updateLocation"
)  # fmt: skip


class RealtimeStack(Stack):
    """Sockets."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workshop: Workshop,
        messaging: MessagingStack,
        endpoints: EndpointsStack,
        **stack: object,
    ) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.stage, self.api_id = workshop.stage, endpoints.socket.ref
        self.functions = {
            name: ServiceFunction(self, name, workshop)
            for name in (
                "authorizer",
                "websocket",
                "realtime",
                "chat_fanout",
                "keepalive",
                "iot_publisher",
                "iot_authorizer",
            )
        }
        consume(self.functions["realtime"], messaging.queues["realtime"])
        follow(
            self.functions["chat_fanout"],
            workshop.places.arns["chat/stream"],
            messaging.dead["chat_fanout"],
            batch=100,
        )
        consume(self.functions["iot_publisher"], messaging.queues["updates"])
        self._mqtt()
        Scheduled(self.functions["keepalive"], "Schedule", self.functions["keepalive"], messaging)
        self._stage(self._routes())

    def _mqtt(self) -> None:
        """A function authorises clients of IoT Core; their password is an access token.

        The token is not signed for IoT Core, as no client could sign it; reserved concurrency limits strangers.
        """
        function = self.functions["iot_authorizer"]
        authorizer = iot.CfnAuthorizer(
            self,
            "MqttAuthorizer",
            authorizer_name=self.stage.named("mqtt"),
            authorizer_function_arn=function.alias.function_arn,
            signing_disabled=True,
            status="ACTIVE",
            enable_caching_for_http=False,
        )
        function.invoked_by("Mqtt", "iot", authorizer.attr_arn)

    def _routes(self) -> list[apigateway.CfnRoute]:
        websocket = self.functions["websocket"]
        authorizer = self._authorizer()
        integration = apigateway.CfnIntegration(
            self,
            "Integration",
            api_id=self.api_id,
            integration_type="AWS_PROXY",
            integration_uri=integration_uri(self, websocket.alias),
        )
        websocket.invoked_by("Sockets", "apigateway", execute_api_arn(self, self.api_id, f"{SOCKET_STAGE}/*"))
        routes = [
            apigateway.CfnRoute(
                self,
                f"Route{key.strip('$').capitalize()}",
                api_id=self.api_id,
                route_key=key,
                target=f"integrations/{integration.ref}",
                # Only $connect can be authorised; later frames belong to an authorised connection.
                authorization_type="CUSTOM" if key == "$connect" else "NONE",
                authorizer_id=authorizer.ref if key == "$connect" else None,
            )
            for key in ROUTES
        ]
        for route in routes:
            if route.authorization_type == "NONE":
                acknowledge(route, {"APIG4": "WebSocket APIs authorize $connect only."})
        return routes

    def _authorizer(self) -> apigateway.CfnAuthorizer:
        """The token may be in three places, so there is no identity source and no caching."""
        function = self.functions["authorizer"]
        authorizer = apigateway.CfnAuthorizer(
            self,
            "Authorizer",
            api_id=self.api_id,
            name=self.stage.named("authorizer"),
            authorizer_type="REQUEST",
            authorizer_uri=integration_uri(self, function.alias),
            identity_source=[],
        )
        function.invoked_by(
            "Sockets", "apigateway", execute_api_arn(self, self.api_id, f"authorizers/{authorizer.ref}")
        )
        return authorizer

    def _stage(self, routes: list[apigateway.CfnRoute]) -> None:
        stage = apigateway.CfnStage(
            self,
            "Stage",
            api_id=self.api_id,
            stage_name=SOCKET_STAGE,
            auto_deploy=True,
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=self.stage.socket_rate, throttling_burst_limit=self.stage.socket_burst
            ),
        )
        for route in routes:
            stage.node.add_dependency(route)
        acknowledge(
            stage,
            {"APIG1": NO_LOGS, "Serverless-APIGWAccessLogging": NO_LOGS},
        )
