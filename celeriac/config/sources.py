"""Where settings are written: an app's configuration and the environment, and under which spellings.

Celery hands an app's own keys over as they were written: ``celeriac_store`` when set on ``app.conf`` or in a
lower-case module, ``CELERIAC_STORE`` in an upper-case one, ``CELERY_CELERIAC_STORE`` with
``config_from_object(..., namespace="CELERY")`` as in Django.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from celeriac import crashes
from celeriac.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo

CONF_PREFIX = "celeriac_"
ENV_PREFIX = "CELERIAC_"
_CELERY_NAMESPACE = "CELERY_"

# Kubernetes tells every pod of each service in its namespace. A service called "celeriac", or one whose name
# begins so, therefore brings variables with our prefix that nobody meant as settings.
_KUBERNETES_SERVICE = re.compile(
    r"(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class Written:
    """One setting as somebody wrote it: the name in their spelling and the value."""

    name: str
    value: Any


class WrittenSource(PydanticBaseSettingsSource):
    """A pydantic-settings source over what :func:`in_conf` or :func:`in_environment` found."""

    def __init__(self, settings_cls: type[BaseSettings], written: Mapping[str, Written]) -> None:
        super().__init__(settings_cls)
        self._written = written

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002, the interface's
        """Return the value written for a field or None, the field's name, and that it needs no decoding."""
        written = self._written.get(field_name)
        return (None if written is None else written.value), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of all fields that were written."""
        return {field: written.value for field, written in self._written.items()}


def in_conf(conf: Mapping[str, Any], known: Iterable[str]) -> dict[str, Written]:
    """Find the ``celeriac_*`` keys of an app's configuration.

    :param conf: ``app.conf``, or any mapping spelled like one.
    :param known: the names of all settings.
    :raises ConfigurationError: a key with our prefix that is no setting; names the nearest one.
    """
    prefixes = {_CELERY_NAMESPACE, getattr(conf, "prefix", None) or _CELERY_NAMESPACE}
    found: dict[str, Written] = {}
    for key, field in _ours(conf, prefixes):
        if field not in known:
            raise _unknown(key, field, known, "app.conf")
        # Celery's own look-up decides between two spellings of one setting; where it can't see the key (upper
        # case without a namespace) the key itself does.
        found[field] = Written(key, conf.get(CONF_PREFIX + field, conf[key]))
    return found


def in_environment(env: Mapping[str, str], known: Iterable[str]) -> dict[str, Written]:
    """Find the ``CELERIAC_*`` variables. An empty one counts as absent, as compose files write it.

    :raises ConfigurationError: a variable with our prefix that is no setting; names the nearest one.
    """
    found: dict[str, Written] = {}
    for variable, value in env.items():
        if variable == crashes.VARIABLE:
            continue
        if not variable.startswith(ENV_PREFIX) or _KUBERNETES_SERVICE.fullmatch(variable, len(ENV_PREFIX)):
            continue
        field = variable.removeprefix(ENV_PREFIX).lower()
        if field not in known:
            raise _unknown(variable, field, known, "the environment")
        if value:
            found[field] = Written(variable, value)
    return found


def _ours(conf: Mapping[str, Any], prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each key that is meant for celeriac, as written, with the name of the setting in it."""
    for key in conf:
        if not isinstance(key, str):
            continue
        for prefix in ("", *prefixes):
            plain = key.removeprefix(prefix).lower()
            if key.startswith(prefix) and plain.startswith(CONF_PREFIX):
                yield key, plain.removeprefix(CONF_PREFIX)
                break


def _unknown(key: str, field: str, known: Iterable[str], where: str) -> ConfigurationError:
    """Make the error for a key with our prefix whose ``field`` is no setting."""
    prefix = key[: len(key) - len(field)]
    # Likeness is judged without the prefix, which makes everything alike; the answer is spelled as the key.
    alike = [name for name in known if did_you_mean(field, [name])]
    near = [prefix + (name.upper() if key.isupper() else name) for name in alike]
    return ConfigurationError(f"{key!r} in {where} is not a setting of celeriac.{did_you_mean(key, near)}")
