"""The user pool, our sign-in functions as its only client, and its triggers."""

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.config import ACCESS_TOKEN_MINUTES
from infrastructure.constructs.service_function import ServiceFunction, Workshop

RESOURCE_SERVER = "nomadcrew"
SCOPE = "api"
API_SCOPE = f"{RESOURCE_SERVER}/{SCOPE}"
# Usernames are internal ids; users sign in with these aliases.
_ALIASES = cognito.SignInAliases(username=True, email=True, preferred_username=True)
_POOL_TRIGGERS = (
    cognito.UserPoolOperation.PRE_SIGN_UP,
    cognito.UserPoolOperation.DEFINE_AUTH_CHALLENGE,
    cognito.UserPoolOperation.CREATE_AUTH_CHALLENGE,
    cognito.UserPoolOperation.VERIFY_AUTH_CHALLENGE_RESPONSE,
)


class IdentityStack(Stack):
    """The user pool; passwords are stored here only."""

    def __init__(self, scope: Construct, id_: str, *, workshop: Workshop, **stack: object) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.stage = workshop.stage
        self.pool = self._pool()
        self._triggers(workshop)
        self.client = self._client()
        self.issuer = f"https://cognito-idp.{self.region}.{self.url_suffix}/{self.pool.user_pool_id}"
        workshop.places.values |= {
            "NOMADCREW_AWS_USER_POOL_ID": self.pool.user_pool_id,
            "NOMADCREW_AWS_USER_POOL_CLIENT_ID": self.client.user_pool_client_id,
        }
        workshop.places.arns["pool"] = self.pool.user_pool_arn
        CfnOutput(self, "UserPoolId", value=self.pool.user_pool_id)
        CfnOutput(self, "UserPoolClientId", value=self.client.user_pool_client_id)

    def _pool(self) -> cognito.UserPool:
        pool = cognito.UserPool(
            self,
            "Pool",
            user_pool_name=self.stage.named("users"),
            # Aliases need verified addresses; our own mails verify them, so the pool sends none.
            auto_verify=cognito.AutoVerifiedAttrs(email=False, phone=False),
            self_sign_up_enabled=True,
            sign_in_aliases=_ALIASES,
            sign_in_case_sensitive=False,
            standard_attributes=cognito.StandardAttributes(
                email=cognito.StandardAttribute(required=True, mutable=True),
                given_name=cognito.StandardAttribute(required=True, mutable=True),
                family_name=cognito.StandardAttribute(required=True, mutable=True),
                preferred_username=cognito.StandardAttribute(required=False, mutable=True),
            ),
            custom_attributes={
                "profilePicture": cognito.StringAttribute(mutable=True),
                "preferences": cognito.StringAttribute(mutable=True),
            },
            password_policy=cognito.PasswordPolicy(
                min_length=8,
                require_lowercase=True,
                require_uppercase=True,
                require_digits=True,
                require_symbols=True,
            ),
            mfa=cognito.Mfa.OPTIONAL,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=self.stage.sms_codes),
            account_recovery=cognito.AccountRecovery.NONE,
            feature_plan=cognito.FeaturePlan.ESSENTIALS,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        pool.add_resource_server(
            "Api",
            identifier=RESOURCE_SERVER,
            scopes=[cognito.ResourceServerScope(scope_name=SCOPE, scope_description="Everything of one's own")],
        )
        acknowledge(
            pool,
            {
                "COG2": "A second factor is optional by design: members of a crew share phones.",
                "COG3": "Threat protection requires the Plus plan; sign-ins are rate-limited per account.",
                "COG8": "Essentials has the required feature: claims in access tokens.",
            },
        )
        return pool

    def _triggers(self, workshop: Workshop) -> None:
        pool, confirmed = (
            ServiceFunction(self, "cognito_triggers", workshop),
            ServiceFunction(self, "cognito_confirmed", workshop),
        )
        for operation in _POOL_TRIGGERS:
            self.pool.add_trigger(operation, pool.alias)
        self.pool.add_trigger(
            cognito.UserPoolOperation.PRE_TOKEN_GENERATION_CONFIG, pool.alias, cognito.LambdaVersion.V2_0
        )
        self.pool.add_trigger(cognito.UserPoolOperation.POST_CONFIRMATION, confirmed.alias)

    def _client(self) -> cognito.UserPoolClient:
        """Cognito's refresh tokens are discarded, as we issue our own; an hour is their minimum lifetime."""
        return self.pool.add_client(
            "Auth",
            user_pool_client_name=self.stage.named("auth"),
            generate_secret=True,
            auth_flows=cognito.AuthFlow(admin_user_password=True, custom=True),
            disable_o_auth=True,
            access_token_validity=Duration.minutes(ACCESS_TOKEN_MINUTES),
            id_token_validity=Duration.minutes(ACCESS_TOKEN_MINUTES),
            refresh_token_validity=Duration.hours(1),
            enable_token_revocation=True,
            prevent_user_existence_errors=True,
        )
