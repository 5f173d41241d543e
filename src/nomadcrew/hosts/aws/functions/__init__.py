"""One module per Lambda function, each with its `handler`."""
