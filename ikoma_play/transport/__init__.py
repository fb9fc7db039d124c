"""The roads to hosts: local here, SSH elsewhere, dry for check mode and tests."""
