"""The market of the simulated firm: countries, sectors, sizes, sources, products, and what each does to a lead's fate.

The firm builds packaging and handling machinery in northern Italy, sells it in Europe and services it by contract.
Every `fit` is added to the logarithm of the daily chance of success; sectors follow the ATECO 2007 classification.
"""

from dataclasses import dataclass

import numpy as np

__all__ = [
    "COUNTRIES",
    "DIVISIONS",
    "JOBS",
    "PRODUCTS",
    "SOURCES",
    "Division",
    "Source",
    "draw",
    "region_table",
    "shares",
    "size_fit",
]


@dataclass(frozen=True)
class Source:
    """A channel: share of leads, fit, speed (log factor of both exits), activity, mix of levels at the start."""

    name: str
    share: float
    fit: float
    speed: float
    activity: float
    levels: tuple[float, ...]
    entry: tuple[str, ...]


SOURCES = (
    Source("Web form", 0.25, 0.05, 0.15, 1.10, (0.30, 0.36, 0.24, 0.08, 0.02), ("form", "web_visit")),
    Source("Trade fair", 0.17, -0.05, -0.30, 0.95, (0.38, 0.36, 0.19, 0.06, 0.01), ("event",)),
    Source("Referral", 0.10, 0.45, 0.25, 1.00, (0.12, 0.28, 0.34, 0.20, 0.06), ("call",)),
    Source("Cold call", 0.15, -0.40, -0.10, 0.75, (0.62, 0.27, 0.09, 0.02, 0.00), ("call",)),
    Source("Webinar", 0.10, -0.10, -0.25, 1.15, (0.34, 0.40, 0.20, 0.05, 0.01), ("event", "web_visit")),
    Source("Paid search", 0.12, 0.10, 0.40, 1.20, (0.36, 0.34, 0.22, 0.07, 0.01), ("web_visit", "pricing_page")),
    Source("Social ad", 0.07, -0.35, 0.30, 0.90, (0.60, 0.28, 0.10, 0.02, 0.00), ("web_visit",)),
    Source("Partner", 0.04, 0.30, -0.35, 0.80, (0.20, 0.34, 0.32, 0.11, 0.03), ("email_reply",)),
)

COUNTRIES = (
    # code, share, fit, index of the language in names.LANGUAGES, regions with shares and fits
    (
        "IT",
        0.70,
        0.05,
        0,
        (
            ("Lombardia", 0.25, 0.12),
            ("Veneto", 0.15, 0.12),
            ("Emilia-Romagna", 0.16, 0.15),
            ("Piemonte", 0.11, 0.05),
            ("Toscana", 0.08, 0.00),
            ("Friuli-Venezia Giulia", 0.04, 0.05),
            ("Marche", 0.04, 0.00),
            ("Lazio", 0.05, -0.15),
            ("Campania", 0.05, -0.25),
            ("Puglia", 0.04, -0.20),
            ("Sicilia", 0.03, -0.30),
        ),
    ),
    (
        "DE",
        0.12,
        -0.10,
        1,
        (("Bayern", 0.35, 0.05), ("Baden-Württemberg", 0.35, 0.05), ("Nordrhein-Westfalen", 0.30, 0.0)),
    ),
    ("FR", 0.08, -0.15, 2, (("Auvergne-Rhône-Alpes", 0.55, 0.05), ("Île-de-France", 0.45, -0.05))),
    ("ES", 0.06, -0.20, 3, (("Cataluña", 0.60, 0.0), ("Comunidad Valenciana", 0.40, -0.05))),
    ("AT", 0.04, 0.00, 1, (("Oberösterreich", 0.60, 0.0), ("Steiermark", 0.40, 0.0))),
)


@dataclass(frozen=True)
class Division:
    """An ATECO division with its section: its share of accounts, fit, and log factor of company size."""

    code: str
    section: str
    share: float
    fit: float
    size: float


DIVISIONS = (
    Division("10", "C Manufacturing", 0.14, 0.20, 0.2),
    Division("11", "C Manufacturing", 0.05, 0.30, 0.0),
    Division("20", "C Manufacturing", 0.05, 0.20, 0.6),
    Division("21", "C Manufacturing", 0.02, 0.35, 1.0),
    Division("22", "C Manufacturing", 0.07, 0.05, 0.2),
    Division("23", "C Manufacturing", 0.05, 0.00, 0.0),
    Division("25", "C Manufacturing", 0.13, -0.05, -0.2),
    Division("27", "C Manufacturing", 0.05, 0.00, 0.3),
    Division("28", "C Manufacturing", 0.12, -0.10, 0.3),
    Division("31", "C Manufacturing", 0.04, -0.15, -0.3),
    Division("01", "A Agriculture, forestry and fishing", 0.05, -0.30, -1.0),
    Division("38", "E Water supply, sewerage and waste", 0.03, 0.10, 0.2),
    Division("43", "F Construction", 0.04, -0.45, -0.7),
    Division("46", "G Wholesale and retail trade", 0.10, -0.25, -0.5),
    Division("52", "H Transportation and storage", 0.04, 0.10, 0.5),
    Division("71", "M Professional, scientific and technical activities", 0.02, -0.50, -0.9),
)

JOBS = (
    # role, share, fit
    ("Owner or managing director", 0.16, 0.20),
    ("Plant manager", 0.20, 0.20),
    ("Technical director", 0.14, 0.10),
    ("Purchasing", 0.20, 0.00),
    ("Maintenance", 0.12, -0.10),
    ("Research and development", 0.08, -0.20),
    ("Other", 0.10, -0.35),
)

PRODUCTS = (
    # name, share, fit of the lead, median amount of a deal in EUR
    ("Packaging line", 0.22, -0.10, 180_000.0),
    ("Palletiser", 0.20, 0.00, 90_000.0),
    ("Conveyor", 0.26, 0.10, 38_000.0),
    ("Labelling machine", 0.18, 0.10, 26_000.0),
    ("Retrofit", 0.14, 0.00, 17_000.0),
)


def shares(weights: object) -> np.ndarray:
    """Return the weights scaled to sum to one."""
    weights = np.asarray(weights, dtype=float)
    return weights / weights.sum()


def draw(weights: object, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n indices drawn with these weights."""
    return np.searchsorted(np.cumsum(shares(weights))[:-1], rng.random(n), side="right")


def region_table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return country index, name, overall share and fit (country plus region) of every region."""
    rows = [
        (index, name, country_share * share, country_fit + fit)
        for index, (_, country_share, country_fit, _, regions) in enumerate(COUNTRIES)
        for name, share, fit in regions
    ]
    country, name, share, fit = zip(*rows, strict=True)
    return np.array(country), np.array(name, dtype=object), shares(share), np.array(fit)


def size_fit(employees: np.ndarray) -> np.ndarray:
    """Return the fit of a company's size: best at about 150 people, falling to both sides."""
    return 0.25 - 0.16 * np.minimum(np.abs(np.log(np.maximum(employees, 1.0) / 150.0)), 4.0) ** 1.3
