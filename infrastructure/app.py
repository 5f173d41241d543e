"""The CDK app: `cdk synth -c stage=dev`. `-c arch=arm64|x86_64` and `-c python=3.13` select the packages."""

from collections.abc import Callable
from pathlib import Path

from aws_cdk import App, Environment, Tags, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from infrastructure.config import Stage, stage_of
from infrastructure.constructs.service_function import Workshop
from infrastructure.grants import ResourceRefs
from infrastructure.stacks.api import ApiStack
from infrastructure.stacks.compute import ComputeStack
from infrastructure.stacks.database import DatabaseStack
from infrastructure.stacks.endpoints import EndpointsStack
from infrastructure.stacks.identity import IdentityStack
from infrastructure.stacks.messaging import MessagingStack
from infrastructure.stacks.realtime import RealtimeStack


def build(app: App, stage: Stage, package: Callable[[str], str]) -> None:
    """Create all stacks of a stage; `package` returns the path of a function's zip or folder."""
    places = ResourceRefs(stage)
    env = Environment(account=stage.account, region=stage.region)

    def settings(name: str, *, stateful: bool = False) -> dict[str, object]:
        return {
            "env": env,
            "stack_name": stage.named(name),
            # The emulator is deleted as a whole; elsewhere, users' data must not be deleted by mistake.
            "termination_protection": stateful and stage.name != "rehearsal",
        }

    database = DatabaseStack(app, "database", places=places, **settings("database", stateful=True))
    messaging = MessagingStack(app, "messaging", places=places, **settings("messaging"))
    endpoints = EndpointsStack(app, "endpoints", places=places, **settings("endpoints"))
    workshop = Workshop(places, package, database.vpc, database.proxy.functions if database.proxy else None)
    IdentityStack(app, "identity", workshop=workshop, **settings("identity", stateful=True))
    compute = ComputeStack(
        app,
        "compute",
        workshop=workshop,
        messaging=messaging,
        **settings("compute"),
    )
    realtime = RealtimeStack(
        app,
        "realtime",
        workshop=workshop,
        messaging=messaging,
        endpoints=endpoints,
        **settings("realtime"),
    )
    # Sockets read tables that the migration creates.
    realtime.add_stack_dependency(compute)
    ApiStack(
        app,
        "api",
        workshop=workshop,
        compute=compute,
        endpoints=endpoints,
        **settings("api"),
    )
    for name, value in (("project", "nomadcrew"), ("stage", stage.name)):
        Tags.of(app).add(name, value, exclude_resource_types=["AWS::RDS::DBProxyTargetGroup"])


def check(app: App) -> None:
    """Check every synthesis with cdk-nag."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    Validations.of(app).add_plugins(ServerlessChecks(app))


def main() -> None:
    app = App()
    given = app.node.try_get_context
    stage = stage_of(
        given("stage") or "rehearsal",
        given("preset"),
        public_url=given("publicUrl"),
        expo_url=given("expoUrl"),
        supabase_url=given("supabaseUrl"),
        pexels_url=given("pexelsUrl"),
        passkey_origins=given("passkeyOrigins"),
        google_client_ids=given("googleClientIds"),
        apple_client_ids=given("appleClientIds"),
        weather_url=given("weatherUrl"),
        webhook_networks=given("webhookNetworks"),
    )
    from infrastructure.package import package_path

    folder = package_path(stage, given("arch") or "arm64", given("python") or "3.13")
    check(app)
    build(app, stage, lambda name: str(Path(folder, f"{name}.zip")))
    app.synth()


if __name__ == "__main__":
    main()
