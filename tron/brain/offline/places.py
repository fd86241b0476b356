"""Which time zone a place is in, as far as the zone database and a short list know.

Answers None rather than guessing: a place that is not known is said to be unknown.
"""

import re
from functools import cache
from zoneinfo import available_timezones

_MORE = {
    "america/new_york": "new york city|nyc|boston|washington|washington dc|miami|atlanta|"
    "philadelphia|eastern|eastern time|est|edt",
    "america/chicago": "houston|dallas|austin|texas|central time|cst|cdt",
    "america/denver": "colorado|mountain time|mst|mdt",
    "america/los_angeles": "la|san francisco|sf|seattle|portland|san diego|silicon valley|"
    "california|las vegas|pacific|pacific time|pst|pdt",
    "europe/london": "uk|england|scotland|wales|britain|great britain|united kingdom|manchester|"
    "edinburgh|bst",
    "europe/berlin": "germany|munich|hamburg|frankfurt|cologne|cet|cest",
    "europe/paris": "france|lyon|marseille",
    "europe/madrid": "spain|barcelona|valencia",
    "europe/rome": "italy|milan|naples",
    "europe/lisbon": "portugal|porto",
    "europe/amsterdam": "netherlands|the netherlands|holland|rotterdam",
    "europe/zurich": "switzerland|geneva|basel|bern",
    "europe/vienna": "austria",
    "europe/brussels": "belgium",
    "europe/dublin": "ireland",
    "europe/stockholm": "sweden|gothenburg",
    "europe/oslo": "norway",
    "europe/copenhagen": "denmark",
    "europe/helsinki": "finland",
    "europe/warsaw": "poland|krakow",
    "europe/prague": "czechia|czech republic",
    "europe/athens": "greece",
    "europe/kyiv": "ukraine|kiev",
    "europe/istanbul": "turkey|ankara",
    "asia/tokyo": "japan|osaka|kyoto|jst",
    "asia/seoul": "korea|south korea|busan",
    "asia/shanghai": "china|beijing|peking|shenzhen|guangzhou",
    "asia/kolkata": "india|mumbai|delhi|new delhi|bangalore|bengaluru|chennai|hyderabad|pune|ist",
    "asia/dubai": "uae|abu dhabi|emirates",
    "asia/singapore": "sg",
    "asia/jerusalem": "israel|tel aviv",
    "asia/bangkok": "thailand",
    "asia/manila": "philippines",
    "asia/ho_chi_minh": "vietnam|hanoi|saigon",
    "australia/sydney": "canberra|new south wales",
    "pacific/auckland": "new zealand|wellington",
    "africa/johannesburg": "south africa|cape town",
    "africa/nairobi": "kenya",
    "africa/lagos": "nigeria",
    "africa/cairo": "egypt",
    "america/sao_paulo": "rio|rio de janeiro",
    "america/argentina/buenos_aires": "argentina",
    "america/toronto": "ottawa|montreal|quebec",
    "america/vancouver": "british columbia",
    "america/mexico_city": "mexico",
    "utc": "gmt|zulu|universal time|greenwich",
}

_NAMED = re.compile(
    r"\b(?:in|at|to|from) ([^\W\d_][\w'-]{1,30}(?: [\w'-]{1,30}){0,2})", re.IGNORECASE
)
_SKIPPED = ("etc/", "posix/", "right/", "systemv/")


@cache
def _table() -> dict[str, str]:
    zones = sorted(available_timezones())
    by_lower = {zone.lower(): zone for zone in zones}
    table = dict(by_lower)
    for zone in zones:
        if not zone.lower().startswith(_SKIPPED) and "/" in zone:
            table.setdefault(zone.rsplit("/", 1)[1].lower().replace("_", " "), zone)
    for lower, names in _MORE.items():
        if lower in by_lower:
            table.update(dict.fromkeys(names.split("|"), by_lower[lower]))
    return table


def zone_of(place: str) -> str | None:
    """The IANA zone of `place` (a city, a country with one zone, a zone name), or None."""
    words = [w.strip(" .,;:!?'\"") for w in place.lower()[:80].split()]
    table = _table()
    for start in (0, 1):  # `the netherlands`, `downtown tokyo`
        for size in (4, 3, 2, 1):
            name = " ".join(words[start : start + size])
            if name in table:
                return table[name]
    return None


def place_in(text: str) -> str:
    """The last place that a short text names after `in`, `at`, `to` or `from`; "" if none."""
    for found in reversed(_NAMED.findall(text[:500])):
        words = found.split(" ")
        for size in range(1, len(words) + 1):
            name = " ".join(words[:size])
            if zone_of(name) is not None:
                return name
    return ""
