r"""Whole characters out of the pieces of an answer.

JSON can spell half of a character (`"\ud83d"`), and some servers cut texts between halves: it comes in two
pieces then. Halves find each other here; one that stays alone is no character, and becomes U+FFFD.
"""

import codecs

__all__ = ["WholeCharacters"]


class WholeCharacters:
    r"""Takes a text piece by piece, and gives what is whole of it.

    >>> characters = WholeCharacters()
    >>> [characters.feed("a\ud83d"), characters.feed("\ude00b\ud83d"), characters.end()]
    ['a', '😀b', '\ufffd']
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def feed(self, piece: str) -> str:
        """Take the next piece; half a character at its end is kept for the one behind it."""
        return self._decoder.decode(piece.encode("utf-16-le", "surrogatepass"))

    def end(self) -> str:
        """What is left when nothing comes any more."""
        return self._decoder.decode(b"", final=True)
