"""Notifications to users about their trips."""
