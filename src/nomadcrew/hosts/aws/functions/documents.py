"""The Lambda function of documents: `/v1/wallet` and the wallets of trips."""

from nomadcrew.api.documents.routes import routes
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.ports import lambda_ports

handler = lambda_entry(routes, lambda_ports)
