"""The offline brain: answers by rules, tools and memory when no language model can.

It sees what a model sees, an `Ask`, and answers as one would: in words, or with a call of a tool
whose result it then puts into words. The same ask gets the same answer. It is honest about what
it is and never pretends to have understood more than it did.
"""

from tron.brain.offline.brain import OfflineBrain
from tron.brain.offline.summary import summarise
from tron.brain.offline.voices import Speaker

__all__ = ["OfflineBrain", "Speaker", "summarise"]
