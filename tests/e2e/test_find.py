"""The search of a trip through the public API, on both hosts."""

from tests.e2e.conftest import Register
from tests.e2e.test_documents import TEXTS, upload
from tests.e2e.test_polls import crew


async def test_a_member_finds_what_the_crew_wrote(register: Register) -> None:
    ana, ben, trip_id = await crew(register)
    outsider = await register("eve")
    path = f"/v1/trips/{trip_id}"
    document = await upload(ana, f"{path}/wallet/documents")
    assert document.status_code == 201, document.text
    poll = await ana.new_poll(trip_id, question="How do we carry the passports?", options=["in a bag", "in a belt"])
    todo = await ben.new_todo(trip_id, "Copy the PÁSSPORTS")
    message = await ben.ask("POST", f"{path}/chat/messages", {"message": "my passport is new"})
    await ben.ask("POST", f"{path}/chat/messages", {"message": "so is my bag"})

    found = await ana.ask("GET", f"{path}/find?q=passport")
    assert [
        (result["kind"], result["id"], result["createdBy"], result["excerpt"]) for result in found["results"]
    ] == [
        ("document", document.json()["id"], ana.id, TEXTS["name"]),
        ("poll", poll["id"], ana.id, "How do we carry the passports? · in a bag · in a belt"),
        ("todo", todo["id"], ben.id, "Copy the PÁSSPORTS"),
        ("message", message["id"], ben.id, "my passport is new"),
    ]
    assert found["more"] == []
    both = await ben.ask("GET", f"{path}/find?q=bag+passport")
    assert [result["id"] for result in both["results"]] == [poll["id"]]
    members = await ben.ask("GET", f"{path}/find?q={ana.username}")
    assert [(result["kind"], result["id"]) for result in members["results"]] == [("member", ana.id)]

    refused = await outsider.send("GET", f"{path}/find?q=passport")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_trip_member")
    refused = await ana.send("GET", f"{path}/find")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_query")
