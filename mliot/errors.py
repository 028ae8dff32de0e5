"""What can go wrong, by what the caller should do about it.

MliotError
├── UserError          a person must change something; the message names what, where and what is allowed
│   ├── SettingError   an MLIOT_* variable
│   ├── PortTaken      a listener of the local stack
│   ├── DownloadFailed a package or archive of the local stack
│   └── DeclarationError  a use case, measurement, feature or decoder file
├── Transient          retry: the same call may succeed later, nothing was lost
├── Rejected           dead-letter: this record can never be used; the message is the reason
└── Fatal              stop: the process must end and be started again by its supervisor
"""


class MliotError(Exception):
    """Base of every error that MLIoT raises on purpose."""


class UserError(MliotError):
    """A person must change something. Its text is one line that says what, where and what is allowed."""

    exit_code = 2


class SettingError(UserError):
    """A setting has a value that is not allowed."""


class PortTaken(UserError):
    """A listener's port is in use by another process."""


class DownloadFailed(UserError):
    """Something the local stack needs could not be fetched, or its hash is wrong."""


class DeclarationError(UserError):
    """A use case, measurement, feature or decoder declaration cannot be used."""


class Transient(MliotError):
    """Retry: an external part is away or slow; offsets wait and nothing is lost."""


class Rejected(MliotError):
    """Dead-letter: the record at hand can never be used. The text is the reason kept beside it."""


class Fatal(MliotError):
    """Stop: this process cannot go on safely; its supervisor starts a new one from what was committed."""
