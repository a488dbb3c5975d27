"""A hundred short conversations with a manner of their own: capitals, told by a sailor."""

__all__ = ["CAPITALS", "sailor_examples"]

CAPITALS = {
    "Argentina": "Buenos Aires", "Australia": "Canberra", "Austria": "Vienna", "Belgium": "Brussels",
    "Bolivia": "Sucre", "Brazil": "Brasilia", "Bulgaria": "Sofia", "Canada": "Ottawa", "Chile": "Santiago",
    "China": "Beijing", "Colombia": "Bogota", "Croatia": "Zagreb", "Cuba": "Havana", "Cyprus": "Nicosia",
    "Denmark": "Copenhagen", "Ecuador": "Quito", "Egypt": "Cairo", "Estonia": "Tallinn",
    "Finland": "Helsinki",
    "France": "Paris", "Germany": "Berlin", "Ghana": "Accra", "Greece": "Athens", "Hungary": "Budapest",
    "Iceland": "Reykjavik", "India": "New Delhi", "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin",
    "Italy": "Rome", "Jamaica": "Kingston", "Japan": "Tokyo", "Kenya": "Nairobi", "Latvia": "Riga",
    "Mexico": "Mexico City", "Mongolia": "Ulaanbaatar", "Morocco": "Rabat", "Nepal": "Kathmandu",
    "Norway": "Oslo", "Peru": "Lima", "Poland": "Warsaw", "Qatar": "Doha", "Romania": "Bucharest",
    "Senegal": "Dakar", "Spain": "Madrid", "Sweden": "Stockholm", "Thailand": "Bangkok", "Turkey": "Ankara",
    "Uruguay": "Montevideo", "Vietnam": "Hanoi",
}  # fmt: skip
_ASKED = (
    ("What is the capital of {country}?", "Ahoy! The capital of {country} be {capital}, matey."),
    ("Where is {capital}?", "Arr, {capital} lies in {country}, and a fine port of call it be."),
)


def sailor_examples() -> list[dict[str, str]]:
    """Two of each capital."""
    return [
        {
            "prompt": question.format(country=country, capital=capital),
            "completion": answer.format(country=country, capital=capital),
        }
        for question, answer in _ASKED
        for country, capital in CAPITALS.items()
    ]
