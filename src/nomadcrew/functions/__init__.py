"""One module per Lambda, thin: parse, call one core function, shape the reply."""

import gc
import os

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # What is loaded stays. Looking through it for garbage again and again is a tenth of a cold start.
    gc.set_threshold(50_000, 50, 100)
