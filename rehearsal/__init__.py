"""The rehearsal: deploys the templates to an AWS emulator on this machine and runs the end-to-end tests there."""
