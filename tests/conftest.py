"""What all tests share."""

from hypothesis import settings

# A busy machine is no reason to fail; each test has a timeout of its own.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
