"""Objects of Dagger's without an engine: they take no call that the SDK's classes don't take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Self


class Recorder:
    """An object of one of Dagger's classes, or of several that play together; it keeps the calls.

    What a subclass doesn't define returns the object itself. A call that Dagger would not take fails.
    """

    kinds: ClassVar[tuple[type, ...]] = ()

    def __init_subclass__(cls, of: tuple[type, ...] = (), **more: Any) -> None:
        """Hold the methods of the subclass against those of Dagger's classes."""
        super().__init_subclass__(**more)
        cls.kinds = of or cls.kinds
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(cls, name, _check_calls(_find(cls.kinds, name), method))

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """The calls of what the subclass doesn't define: name, arguments, named ones in a dictionary."""
        found: list[tuple[Any, ...]] = self.__dict__.setdefault("_calls", [])
        return found

    def __getattr__(self, name: str) -> Callable[..., Self]:
        if name.startswith("_"):
            raise AttributeError(name)
        methods = _find(self.kinds, name)
        assert not inspect.iscoroutinefunction(methods[0]), f"{name}: what comes of it has to be defined"

        def record(self: Self, *given: Any, **named: Any) -> Self:
            self.calls.append((name, *given, *([named] if named else [])))
            return self

        return functools.partial(_check_calls(methods, record), self)


def _find(kinds: tuple[type, ...], name: str) -> list[Callable[..., Any]]:
    """Return the methods of a name; raises AttributeError when there is none."""
    found = [getattr(kind, name) for kind in kinds if hasattr(kind, name)]
    if not found:
        raise AttributeError(f"Dagger's {', '.join(kind.__name__ for kind in kinds)} have no {name!r}")
    return found


def _check_calls(methods: list[Callable[..., Any]], call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that fails with TypeError for arguments that none of the methods takes."""
    *others, last = [inspect.signature(method) for method in methods]

    @functools.wraps(call)
    def check(*given: Any, **named: Any) -> Any:
        for signature in others:
            with suppress(TypeError):
                signature.bind(*given, **named)
                break
        else:
            last.bind(*given, **named)
        return call(*given, **named)

    return check
