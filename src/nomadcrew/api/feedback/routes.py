"""Feedback about the app: /v1/feedback."""

from nomadcrew.api.feedback.bodies import FeedbackIn, FeedbackReceived
from nomadcrew.core.feedback.model import new_feedback
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Routes

routes = Routes("feedback", ports=("feedback_box", "idempotency", "limits"))


@routes.post("/v1/feedback", auth=Auth.PUBLIC, bucket="feedback", status=201, uses_outbox=False)
async def give_feedback(call: Call, body: FeedbackIn) -> FeedbackReceived:
    """Send feedback to the operator of the site.

    The same text is stored once.
    """
    feedback = new_feedback(body.name, body.email, body.message, body.source, now=call.now)
    await call.ports.feedback_box.add(feedback)
    return FeedbackReceived()
