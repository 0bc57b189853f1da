"""Everything that can go wrong, and who has to act.

HamiError
  + UserError            the person who wrote the pod, the settings or the command; one line, never a traceback
  |   + ValidationError    a pod asks for something that cannot be meant      (field, value, hint)
  |   + QuantityError      a number that is none; the parser adds the field   (value, hint)
  |   + SettingsError      an unknown key, a wrong type, out of range         (path)
  |   + ManifestError      a manifest that is not a Pod, or a field that we cannot carry out  (path)
  |   + NeverFits          no device of this machine can ever hold the request
  |   + NoMachine          neither a device of a known kind nor a simulated machine
  + WireError            bytes that another process wrote and we cannot read  (path)
  + StateError           the folder of local state is unusable                (path)
  + DriverError          a driver or a device                                 (plugin, device)
  + PluginError          a plugin broke its contract, or could not be loaded  (plugin, hook)

Not here: "does not fit now". That is a Reason, and no error.
"""

from __future__ import annotations


class HamiError(Exception):
    """Base of all. ``str()`` is one sentence: what was wrong, where, and what would be right.

    Subclasses give their arguments to ``Exception`` as they are and make the sentence in ``__str__``: so they survive pickling,
    on their way out of a child process.
    """


class UserError(HamiError):
    """The person who wrote the input can put it right."""


class ValidationError(UserError):
    """A pod asks for something that cannot be meant."""

    def __init__(self, field: str, value: object, hint: str, where: str = "") -> None:
        super().__init__(field, value, hint, where)
        self.field, self.value, self.hint, self.where = field, value, hint, where

    def __str__(self) -> str:
        place = f" in {self.where}" if self.where else ""
        return f"{self.field}: {self.value}{place}: {self.hint}"


class QuantityError(UserError):
    """A text that is no whole number of the unit in question."""

    def __init__(self, value: object, hint: str) -> None:
        super().__init__(value, hint)
        self.value, self.hint = value, hint

    def __str__(self) -> str:
        return f"{self.value}: {self.hint}"


class SettingsError(UserError):
    """A setting that does not exist, or has a value it may not have."""

    def __init__(self, path: str, message: str, source: str) -> None:
        super().__init__(path, message, source)
        self.path, self.message, self.source = path, message, source

    def __str__(self) -> str:
        return f"settings ({self.source}): {self.path}: {self.message}"


class ManifestError(UserError):
    """A manifest that is not a Pod, or that needs what local mode does not do."""

    def __init__(self, source: str, path: str, message: str) -> None:
        super().__init__(source, path, message)
        self.source, self.path, self.message = source, path, message

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.path, self.message) if part)


class NeverFits(UserError):
    """Even an idle machine could not hold the request, so waiting would be for ever."""


class NoMachine(UserError):
    """Nothing to run on."""


class WireError(HamiError):
    """Bytes that another process wrote and that cannot be read; carries the path of the fault."""

    def __init__(self, what: str, path: str, message: str) -> None:
        super().__init__(what, path, message)
        self.what, self.path, self.message = what, path, message

    def __str__(self) -> str:
        return f"{self.what} @ {self.path}: {self.message}"


class StateError(HamiError):
    """The folder of local state is missing, foreign, or not writable."""


class DriverError(HamiError):
    """A driver or one of its devices failed; ``plugin`` names who asked."""

    def __init__(self, plugin: str, message: str, device: str = "") -> None:
        super().__init__(plugin, message, device)
        self.plugin, self.message, self.device = plugin, message, device

    def __str__(self) -> str:
        return ": ".join(part for part in (self.plugin, self.device, self.message) if part)


class PluginError(HamiError):
    """A plugin broke its contract, or could not be loaded."""

    def __init__(self, plugin: str, message: str, hook: str = "") -> None:
        super().__init__(plugin, message, hook)
        self.plugin, self.message, self.hook = plugin, message, hook

    def __str__(self) -> str:
        asked = f"hook {self.hook}: " if self.hook else ""
        return f'plugin "{self.plugin}": {asked}{self.message}'
