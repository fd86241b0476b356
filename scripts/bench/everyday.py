"""Sentences people say on the phone, and how much of one was understood."""

import re

EVERYDAY = (
    "What time is it in Berlin right now?",
    "Please remind me to call my sister tomorrow morning.",
    "Can you tell me what is on my calendar for Friday?",
    "I would like to speak with somebody about my invoice.",
    "The meeting has been moved to half past three.",
    "How is the weather going to be this weekend?",
    "Could you please repeat that a little more slowly?",
    "My account number is four seven two nine one.",
    "I need to change the address on my last order.",
    "Please send the report to everyone on the team.",
    "Is there a train to the airport before six o'clock?",
    "Thank you very much, that is all I wanted to know.",
    "Can you book a table for two people tonight?",
    "The package has not arrived and it is already late.",
    "Who is responsible for the new website?",
    "Let us talk about the budget for next year.",
    "I forgot my password and I can not log in.",
    "Please cancel my appointment on Monday.",
    "What did we decide in the last meeting?",
    "Tell me something interesting about the ocean.",
)

NUMBERS = {"three": "3", "four": "4", "seven": "7", "two": "2", "nine": "9", "one": "1", "six": "6"}


def words(text: str) -> list[str]:
    """Words as they are compared: no case, no punctuation, digits for small numbers."""
    text = text.lower().replace("can not", "cannot").replace("to-morrow", "tomorrow")
    text = re.sub(r"(?<=\d)(?=\d)", " ", text.replace("-", " "))
    return [NUMBERS.get(word, word) for word in re.findall(r"[a-z0-9']+", text)]


def mistakes(spoken: str, heard: str) -> tuple[int, int]:
    """(words that were lost, added or changed; words that were spoken)."""
    a, b = words(spoken), words(heard)
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1], len(a)
