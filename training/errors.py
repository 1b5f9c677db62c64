"""Errors that a person can act on.

```
UserError
├── BadInputError        what was given cannot be used: which file, row or field, what was expected
├── TooLittleDataError   the events are fine, but there are not enough to do what was asked
├── VersionError         a version that is missing, damaged, or in the way
└── DatabaseError        Postgres cannot be reached, or could not do what it was told
```

Programs print the message of a UserError and exit with status 1; anything else is a defect and shows
its traceback.
"""


class UserError(Exception):
    """Something that the caller can mend; the message says what and how."""


class BadInputError(UserError):
    """What was given cannot be used."""


class TooLittleDataError(UserError):
    """There are not enough events to do what was asked."""


class VersionError(UserError):
    """A version is missing, damaged, or in the way."""


class DatabaseError(UserError):
    """Postgres cannot be reached, or could not do what it was told."""
