"""One module per Lambda, thin: parse, call one core function, shape the reply."""
