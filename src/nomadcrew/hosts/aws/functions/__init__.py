"""One module per Lambda function, each with its `handler`."""

import gc
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # Loaded modules are never freed; collecting them repeatedly is a tenth of a cold start.
    gc.set_threshold(50_000, 50, 100)
