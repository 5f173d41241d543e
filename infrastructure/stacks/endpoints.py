"""The two API endpoints, created before their routes, so that functions can be given the addresses."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from constructs import Construct

from infrastructure.config import CORS_EXPOSED, CORS_HEADERS, CORS_MAX_AGE_S, CORS_METHODS, SOCKET_STAGE
from infrastructure.constructs.service_function import execute_api_arn
from infrastructure.grants import ResourceRefs


class EndpointsStack(Stack):
    """Two APIs without routes."""

    def __init__(self, scope: Construct, id_: str, *, places: ResourceRefs, **stack: object) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        stage = places.stage
        self.http = apigateway.CfnApi(
            self,
            "Http",
            name=stage.named("http"),
            protocol_type="HTTP",
            cors_configuration=apigateway.CfnApi.CorsProperty(
                allow_origins=list(stage.allowed_origins),
                allow_methods=list(CORS_METHODS),
                allow_headers=list(CORS_HEADERS),
                expose_headers=list(CORS_EXPOSED),
                max_age=CORS_MAX_AGE_S,
            ),
            tags=dict(stage.http_tags) or None,
        )
        self.socket = apigateway.CfnApi(
            self,
            "Socket",
            name=stage.named("socket"),
            protocol_type="WEBSOCKET",
            route_selection_expression="$request.body.action",
            tags=dict(stage.socket_tags) or None,
        )
        api_url = f"https://{self.http.ref}.execute-api.{self.region}.{self.url_suffix}"
        socket = f"{self.socket.ref}.execute-api.{self.region}.{self.url_suffix}/{SOCKET_STAGE}"
        places.values |= {
            "NOMADCREW_PUBLIC_URL": stage.public_url or api_url,
            "NOMADCREW_AWS_SOCKETS_URL": f"https://{socket}",
        }
        places.arns["sockets"] = execute_api_arn(self, self.socket.ref, f"{SOCKET_STAGE}/POST/@connections/*")
        exported = f"{self.stack_name}:ExportsOutputRefSocket8014C084"
        places.wild["sockets"] = (
            f"arn:<AWS::Partition>:execute-api:{stage.region}:{stage.account}:{exported}/{SOCKET_STAGE}/POST/@connections/*",
            "Connection ids are assigned by API Gateway.",
        )
        CfnOutput(self, "ApiUrl", value=api_url)
        CfnOutput(self, "ApiId", value=self.http.ref)
        CfnOutput(self, "SocketUrl", value=f"wss://{socket}")
        CfnOutput(self, "SocketApiId", value=self.socket.ref)
