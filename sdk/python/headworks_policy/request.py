"""The request that a hook is asked about: lent by the host, or made up in a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Union

#: What a made-up request has where the test says nothing.
ORDINARY: Dict[str, Any] = {
    "id": 0,
    "endpoint": "",
    "model": "",
    "tenant": "",
    "session": None,
    "priority": 0,
    "prompt_tokens_estimate": 0,
    "output_tokens_max": 0,
    "stream": False,
    "hop": 0,
}

OTHERS = ("prompt", "tokens", "block_hashes", "headers")


@dataclass
class Hashes:
    """Chained block hashes, as two columns of 32 bits."""

    low: List[int] = field(default_factory=list)
    high: List[int] = field(default_factory=list)


class Request:
    """The request of one call, lent for it: keep what you read, not the request."""

    #: Unique in the process.
    id: int
    #: The path asked for, e.g. `/v1/chat/completions`.
    endpoint: str
    model: str
    #: Who asks; `anonymous` where no key names a tenant.
    tenant: str
    #: What ties the turns of one conversation together, when the client sends it.
    session: Optional[str]
    #: 0 is ordinary, higher is more urgent.
    priority: int
    prompt_tokens_estimate: int
    #: The client's bound on output tokens; 0 when it gave none.
    output_tokens_max: int
    stream: bool
    #: How many proxies the request has passed before this one.
    hop: int
    prompt_bytes: int

    def __init__(self, lent: Any) -> None:
        self._lent = lent

    @staticmethod
    def of(**facts: Any) -> Request:
        """A request for a test: the fields above, and `prompt`, `tokens`, `block_hashes`, `headers`."""
        unknown = [name for name in facts if name not in ORDINARY and name not in OTHERS]
        if unknown:
            raise ValueError(f"a request has no `{unknown[0]}`; it has {', '.join([*ORDINARY, *OTHERS])}")
        return Request(_MadeUp(facts))

    @property
    def handle(self) -> Any:
        """The host's own handle, for the prefix index."""
        return self._lent

    def __getattr__(self, name: str) -> Any:
        """Asks for a fact once, when it is first looked at."""
        if name not in ORDINARY and name != "prompt_bytes":
            raise AttributeError(f"a request has no `{name}`")
        value = getattr(self._lent, name)()
        setattr(self, name, value)
        return value

    def prompt(self, offset: int = 0, bytes_max: int = 0xFFFF_FFFF) -> bytes:
        """The prompt's text from byte `offset` on, at most `bytes_max` of it."""
        return self._lent.prompt(offset, bytes_max)

    def tokens(self) -> List[int]:
        """The prompt's token ids, when the client sent ids instead of text."""
        return self._lent.tokens()

    def block_hashes(self) -> Hashes:
        """Hashes over whole blocks of 256 prompt bytes: equal hashes mean equal prefixes up to there."""
        hashes = self._lent.block_hashes()
        return Hashes(hashes.low, hashes.high)

    def header(self, name: str) -> Optional[str]:
        """A header by its lower-case name; only those that the operator lets policies see."""
        return self._lent.header(name)

    def header_names(self) -> List[str]:
        """The names of the headers there are."""
        return self._lent.header_names()

    def note(self, note: Union[str, bytes]) -> None:
        """Keeps a few bytes with the request: `observe` finds them in each of its events. Silent in a test."""
        self._lent.note(note.encode() if isinstance(note, str) else note)


class _MadeUp:
    """What the host would lend, with the facts of a test in it."""

    def __init__(self, facts: Dict[str, Any]) -> None:
        self._facts = {**ORDINARY, **facts}
        prompt = facts.get("prompt", b"")
        self._prompt = prompt.encode() if isinstance(prompt, str) else prompt
        self._headers = dict(facts.get("headers", {}))

    def __getattr__(self, name: str) -> Any:
        value = self._facts[name]
        return lambda: value

    def prompt_bytes(self) -> int:
        return len(self._prompt)

    def prompt(self, offset: int, bytes_max: int) -> bytes:
        return self._prompt[offset : offset + bytes_max]

    def tokens(self) -> List[int]:
        return list(self._facts.get("tokens", ()))

    def block_hashes(self) -> Hashes:
        return self._facts.get("block_hashes", Hashes())

    def header(self, name: str) -> Optional[str]:
        return self._headers.get(name)

    def header_names(self) -> List[str]:
        return list(self._headers)

    def note(self, note: bytes) -> None:
        """Nobody hears it."""
