"""The host on AWS: Lambda functions behind API Gateway, queues and streams."""
