"""NomadCrew: one backend for people travelling together, on one machine or on AWS."""

__version__ = "0.2.0"
