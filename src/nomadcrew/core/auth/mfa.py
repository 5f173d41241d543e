"""Multi-factor authentication: a sign-in with a password and a code of an authenticator app."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from msgspec import Struct

from nomadcrew.core.auth import totp
from nomadcrew.core.auth.accounts import require_own_password
from nomadcrew.core.auth.credential_ports import TotpFactor, TotpFactors
from nomadcrew.core.auth.errors import InvalidMfaToken, MfaDisabled, WrongCode
from nomadcrew.core.auth.failures import Origin, Target, check_within_limits
from nomadcrew.core.auth.model import MfaStatus, SignedIn
from nomadcrew.core.auth.ports import Accounts, Codes, Sessions, Tokens
from nomadcrew.core.auth.sessions import open_session
from nomadcrew.core.ids import NewId, UserId
from nomadcrew.core.rate_limits import RateLimits


class NewTotp(Struct, frozen=True):
    """A factor to confirm: its secret, as text and as the content of a QR code, and its recovery codes."""

    secret: str
    uri: str
    recovery_codes: Sequence[str]


class MfaActions(Struct, frozen=True):
    """The actions on second factors, for one origin and one time."""

    origin: Origin
    factors: TotpFactors
    codes: Codes
    limits: RateLimits
    new_id: NewId
    now: datetime

    async def begin(self, user_id: UserId, password: str, *, accounts: Accounts, issuer: str) -> NewTotp:
        """Make a factor, which counts once it is confirmed. An unconfirmed one is replaced.

        Raises:
            MfaEnabled: the account has a factor.
            DomainError: as `require_own_password` says.
        """
        account = await require_own_password(
            user_id, password, self.origin, accounts=accounts, limits=self.limits, codes=self.codes
        )
        secret = self.codes.random_bytes(totp.SECRET_BYTES)
        recovery = [
            totp.recovery_code(self.codes.random_bytes(totp.RECOVERY_BYTES)) for _ in range(totp.RECOVERY_CODES)
        ]
        await self.factors.begin(user_id, secret, [totp.recovery_hash(code) for code in recovery])
        uri = totp.key_uri(secret, issuer=issuer, account=account.profile.username)
        return NewTotp(totp.secret_text(secret), uri, recovery)

    async def confirm(self, user_id: UserId, code: str) -> None:
        """Turn the factor on by a code of it. A repeat changes nothing.

        Raises:
            MfaDisabled: there is no factor to confirm.
            WrongCode, TooMany: as `_require_code` says.
        """
        factor = await self.factors.get(user_id)
        if factor is None:
            raise MfaDisabled
        step = totp.step_of(factor.secret, code.strip(), self.now)

        async def turn_on() -> bool:
            if step is None or factor.is_confirmed:
                return step is not None
            return await self.factors.confirm(user_id, factor.secret, step, now=self.now)

        await self._within_limits(user_id, turn_on)

    async def remove(self, user_id: UserId, code: str) -> None:
        """Turn the factor off by a code of it or a recovery code.

        Raises:
            MfaDisabled: the account has no factor.
            WrongCode, TooMany: as `_require_code` says.
        """
        await self._require_code(await self._confirmed(user_id), code)
        await self.factors.remove(user_id, now=self.now)

    async def status(self, user_id: UserId) -> MfaStatus:
        factor = await self.factors.get(user_id)
        if factor is None or not factor.is_confirmed:
            return MfaStatus(totp=False, recovery_codes_left=0)
        return MfaStatus(totp=True, recovery_codes_left=factor.recovery_codes_left)

    async def sign_in(
        self, mfa_token: str, code: str, *, accounts: Accounts, sessions: Sessions, tokens: Tokens
    ) -> SignedIn:
        """Complete a sign-in that `MfaRequired` interrupted.

        Raises:
            InvalidMfaToken: the token is malformed or expired, or the factor was turned off.
            WrongCode, TooMany: as `_require_code` says.
        """
        user_id = self.codes.read_mfa_token(mfa_token, now=self.now)
        try:
            factor = await self._confirmed(user_id)
        except MfaDisabled:
            raise InvalidMfaToken from None
        await self._require_code(factor, code)
        return await open_session(
            factor.account, self.origin, accounts=accounts, sessions=sessions, tokens=tokens, new_id=self.new_id,
            now=self.now,
        )  # fmt: skip

    async def _confirmed(self, user_id: UserId) -> TotpFactor:
        factor = await self.factors.get(user_id)
        if factor is None or not factor.is_confirmed:
            raise MfaDisabled
        return factor

    async def _require_code(self, factor: TotpFactor, code: str) -> None:
        """Spend a code of the app or a recovery code.

        Raises:
            WrongCode: it is wrong or spent.
            TooMany: too many wrong codes before.
        """
        user_id = factor.account.user_id

        async def spend() -> bool:
            step = totp.step_of(factor.secret, code.strip(), self.now)
            if step is not None:
                return await self.factors.spend_step(user_id, step)
            return await self.factors.spend_recovery_code(user_id, totp.recovery_hash(code))

        await self._within_limits(user_id, spend)

    async def _within_limits(self, user_id: UserId, spend: Callable[[], Awaitable[bool]]) -> None:
        target = Target(f"code of {user_id}", user_id)
        if not await check_within_limits(spend, target, self.origin, limits=self.limits, codes=self.codes):
            raise WrongCode
