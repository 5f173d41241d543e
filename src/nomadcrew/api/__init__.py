"""The API, one folder per feature: routes, bodies, socket frames, queue consumers. Both hosts serve it."""
