"""Deleting one's account: `DELETE /v1/users/me`, and the receipts of erasures."""

import asyncio

from nomadcrew.api.erasure.bodies import (
    DeletionIn,
    DeletionState,
    DeletionView,
    ReceiptIn,
    ReceiptView,
    receipt_view,
)
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.erasure.service import Eraser, erase, request_deletion
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Idempotency, Routes

routes = Routes(
    "erasure",
    ports=(
        "accounts", "broadcaster", "codes", "document_files", "erasure_receipts", "erasures", "export_files",
        "files", "idempotency", "limits", "mirror", "open_sessions", "outbox", "personal_copies", "picture_files",
        "receipt_mail", "sessions",
    ),
    takes_keys=False,
)  # fmt: skip
# An erasure that takes longer is continued by the scheduled job. API Gateway waits for 29 seconds.
ERASING_S = 20


@routes.delete("/v1/users/me", bucket="sign_in", idempotency=Idempotency.NEVER, refusals=(403,), statements=3,
               why="the password is checked before the deletion is stored, then all sessions end")  # fmt: skip
async def delete_me(call: Call, body: DeletionIn) -> DeletionView:
    """Delete the caller's account.

    All sessions end. The account and its data are erased after seven days, unless the user signs in before. With
    `immediate`, they are erased at once, and the reply has the receipt. Trips pass to the longest-standing admin,
    or else member; trips without another member are deleted.
    """
    ports = call.ports
    deletes_at = await request_deletion(
        call.user_id,
        body.password,
        Origin(call.request.client_ip, body.device_token, call.user_agent),
        immediate=body.immediate,
        erasures=ports.erasures,
        accounts=ports.accounts,
        sessions=ports.sessions,
        limits=ports.limits,
        codes=ports.codes,
        new_id=ports.new_id,
        now=call.now,
    )
    if not body.immediate:
        return DeletionView(DeletionState.SCHEDULED, deletes_at)
    try:
        async with asyncio.timeout(ERASING_S):
            erased = await erase(call.user_id, Eraser.of(ports))
    except TimeoutError:
        erased = None
    if erased is None:
        return DeletionView(DeletionState.ERASING, deletes_at)
    return DeletionView(DeletionState.ERASED, erased[1].erased_at, erased[0])


@routes.post("/v1/privacy/receipts:verify", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NATURAL,
             refusals=(400,), statements=0, why="the receipt has its proof")  # fmt: skip
async def verify_receipt(call: Call, body: ReceiptIn) -> ReceiptView:
    """Verify the receipt of an erasure.

    The server stores no receipt: it verifies the signature.
    """
    return receipt_view(call.ports.erasure_receipts.read(body.receipt))
