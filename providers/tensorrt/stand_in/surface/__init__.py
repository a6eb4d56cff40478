"""The strict side of the stand-in: the module's API, which lets through what the real module would take."""
