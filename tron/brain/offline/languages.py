"""Whether somebody speaks another language than English, and one honest sentence in it.

Knows ten languages by a few unmistakable words, five more by their script.
"""

import re
import unicodedata

_WORDS = {
    "es": "hola qué que es cómo como estás hora gracias buenos buenas días quién eres puedes por "
    "favor dónde hablas español adiós",
    "fr": "bonjour salut bonsoir quelle quel heure est il qui es tu êtes vous merci parlez parles "
    "français comment ça va au revoir peux",
    "de": "hallo wie spät ist es wer bist du sind sie sprichst deutsch danke guten tag morgen was "
    "kannst bitte geht dir uhr viel",
    "it": "ciao buongiorno che ore sono chi sei come stai grazie parli italiano puoi arrivederci",
    "pt": "olá oi bom dia que horas são quem é você obrigado obrigada fala português tudo bem",
    "nl": "hoi goedemorgen hoe laat is het wie ben jij dank je spreek nederlands goedendag wat kun",
    "pl": "cześć dzień dobry która jest godzina kim jesteś dziękuję mówisz po polsku jak się masz",
    "sv": "hej vad är klockan vem du tack talar svenska hur mår god",
    "tr": "merhaba saat kaç kimsin sen teşekkürler türkçe biliyor musun nasılsın",
    "cs": "ahoj dobrý den kolik je hodin kdo jsi děkuji mluvíš česky",
}
_TABLE = {
    language: frozenset(unicodedata.normalize("NFC", words).split())
    for language, words in _WORDS.items()
}
_SCRIPTS = (
    ("HIRAGANA", "ja"),
    ("KATAKANA", "ja"),
    ("HANGUL", "ko"),
    ("CJK", "zh"),
    ("CYRILLIC", "ru"),
    ("ARABIC", "ar"),
)
_SHARED = frozenset("is it a was me bin en no as".split())
"""words of English too, which therefore prove nothing"""
_PLAIN = {
    "es": "Sin un modelo de lenguaje solo entiendo inglés.",
    "fr": "Sans modèle de langage, je ne comprends que l'anglais.",
    "de": "Ohne Sprachmodell verstehe ich nur Englisch.",
    "it": "Senza un modello linguistico capisco solo l'inglese.",
    "pt": "Sem um modelo de linguagem, só entendo inglês.",
    "nl": "Zonder taalmodel versta ik alleen Engels.",
    "pl": "Bez modelu językowego rozumiem tylko angielski.",
    "sv": "Utan en språkmodell förstår jag bara engelska.",
    "tr": "Dil modeli olmadan yalnızca İngilizce anlıyorum.",
    "cs": "Bez jazykového modelu rozumím jen anglicky.",
    "ja": "言語モデルがないため、英語しか理解できません。",
    "ko": "언어 모델이 없어서 영어만 이해합니다.",
    "zh": "没有语言模型，我只懂英语。",
    "ru": "Без языковой модели я понимаю только английский.",
    "ar": "بدون نموذج لغوي لا أفهم إلا الإنجليزية.",
}
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str:
    """The language of a text that no rule understood; "" for English or when in doubt."""
    words = _WORD.findall(unicodedata.normalize("NFC", text[:400]).lower())
    if not words:
        return ""
    letters = [unicodedata.name(letter, "") for letter in "".join(words)[:60]]
    for script, language in _SCRIPTS:
        if sum(name.startswith(script) for name in letters) * 3 > len(letters):
            return language
    telling = [word for word in words if word not in _SHARED]
    hits = {language: len(known.intersection(words)) for language, known in _TABLE.items()}
    best = max(hits, key=lambda language: hits[language])
    sure = hits[best] * 2 >= len(words) and _TABLE[best].intersection(telling)
    return best if sure else ""


def only_english(language: str) -> str:
    """That only English is understood, said in `language`."""
    return _PLAIN[language]
