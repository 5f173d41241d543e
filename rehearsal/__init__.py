"""The rehearsal: the templates deployed to an AWS emulator on this machine, and the same end-to-end tests there."""
