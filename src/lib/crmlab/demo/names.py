"""Names of people, companies and addresses that look real and belong to nobody.

E-mail addresses use the reserved `.example` domain (RFC 2606); telephone numbers use ranges kept free for fiction where
the country has one (Germany, France, United Kingdom), and a `555` block elsewhere.
"""

import unicodedata

import numpy as np

__all__ = ["FIRST_NAMES", "LANGUAGES", "LAST_NAMES", "company_names", "domains", "emails", "people", "phones"]

_FIRST_IT = """Adriana Alberto Alessandra Alessandro Alessia Alessio Alfredo Alice Ambra Amedeo Andrea Angela
Angelo Anita Anna Annalisa Antonella Antonio Arianna Arturo Aurora Barbara Beatrice Benedetta Bianca Bruno
Camilla Carla Carlo Carmela Caterina Cecilia Cesare Chiara Cinzia Claudia Claudio Corrado Cosimo Cristina
Damiano Daniela Daniele Dario Davide Debora Diego Domenico Donatella Edoardo Elena Eleonora Elia Elisa
Elisabetta Emanuele Emilia Emma Enrica Enrico Ernesto Ettore Eugenio Fabiana Fabio Fabrizio Federica Federico
Filippo Flavia Flavio Francesca Francesco Franco Gabriele Gaia Gemma Giacomo Giada Gianluca Gianni Ginevra
Giorgia Giorgio Giovanna Giovanni Giuliana Giulia Giulio Giuseppe Grazia Graziano Guido Ilaria Irene Isabella
Ivan Jacopo Katia Lara Laura Lavinia Leonardo Letizia Lidia Lisa Loredana Lorenza Lorenzo Luca Lucia Luciano
Luigi Maddalena Manuela Marcella Marcello Marco Margherita Maria Marina Mario Marta Martina Massimo Matilde
Matteo Maurizio Mauro Melissa Michela Michele Miriam Mirko Monica Nadia Nicola Nicoletta Noemi Orlando Paola
Paolo Patrizia Piero Pietro Raffaella Renato Riccardo Rita Roberta Roberto Rocco Rosa Ruggero Sabrina Samuele
Sara Sergio Silvia Simona Simone Sofia Stefania Stefano Teresa Tiziana Tommaso Umberto Valentina Valeria Valerio
Vanessa Veronica Vincenzo Vittoria Vittorio Viviana"""
_LAST_IT = """Abate Agostini Albertini Amato Andreoli Antonelli Arena Baldini Balestra Barbieri Barone Bassi
Battaglia Bellini Benedetti Berardi Bernardi Berti Bertolini Bianchi Bianco Boni Borghi Boschi Brambilla Bruni
Bruno Caputo Carbone Cardinale Carli Caruso Casagrande Castelli Cattaneo Cavallo Ceccarelli Ceriani Cirillo
Colombo Conti Coppola Corsini Costa Cristofori Damiani Angelini Luchetti Santarelli Deiana Donati Esposito
Fabbri Farina Fasano Fava Ferrara Ferrari Ferraro Ferretti Ferri Fiore Fontana Fumagalli Fusco Galli Gallo
Garofalo Gatti Gentile Giordano Giuliani Grassi Grasso Graziani Greco Guarini Guerra Guidi Landi Leone Lombardi
Lombardo Longo Lorenzini Luciani Maggi Mancini Manfredi Mantovani Marchetti Marconi Mariani Marinelli Marino
Martelli Martinelli Martini Mazza Melis Messina Milani Monti Morelli Moretti Mori Moro Motta Napolitano Negri
Neri Nicoletti Novelli Orlandi Orsini Pace Pagani Palmieri Palumbo Parisi Pastore Pavan Pellegrini Pellegrino
Perini Piazza Pinna Piras Pozzi Prandelli Quaranta Ranieri Ricci Rinaldi Riva Rizzi Rizzo Rocca Romano Rossetti
Rossi Ruggeri Russo Sala Salvi Sanna Santini Santoro Sartori Serra Silvestri Sorrentino Spada Tedesco Testa Tosi
Trevisan Valenti Valentini Venturi Villa Vinci Vitale Vitali Zanetti Zanon Zorzi"""
_FIRST_DE = """Alexander Andreas Anja Anke Annika Antje Astrid Benjamin Bernd Birgit Björn Britta Carsten
Christian Christina Claudia Dagmar Dennis Dieter Dirk Dominik Elke Eva Fabian Felix Florian Frank Gabriele Gerd
Hannah Hans Heike Helga Henning Holger Ingrid Jana Jan Jens Jörg Johanna Jonas Julia Jürgen Karin Karl Katharina
Katja Kerstin Klaus Lars Lena Leonie Lukas Manfred Markus Martina Matthias Maximilian Melanie Michael Monika
Nadine Nicole Niklas Nina Norbert Olaf Oliver Patrick Paul Petra Philipp Rainer Ralf Regina Rolf Sabine Sandra
Sebastian Silke Simone Sophie Stefan Steffen Stephanie Susanne Sven Tanja Thomas Thorsten Tim Tobias Torsten
Ulrich Ulrike Ute Uwe Volker Walter Werner Wolfgang"""
_LAST_DE = """Albrecht Arnold Bauer Baumann Beck Becker Berger Bergmann Böhm Brandt Braun Busch Dietrich Engel
Ernst Fischer Frank Franke Friedrich Fuchs Graf Groß Günther Haas Hahn Hartmann Heinrich Herrmann Hofmann Horn
Huber Hübner Jäger Jung Kaiser Keller Klein Koch Köhler König Kraft Kramer Kraus Krause Krüger Kuhn Kühn Lang
Lange Lehmann Lindner Lorenz Ludwig Maier Martin Mayer Meier Meyer Möller Müller Neumann Otto Peters Pfeiffer
Pohl Richter Roth Sauer Schäfer Schmid Schmidt Schmitt Schneider Scholz Schreiber Schröder Schubert Schulte
Schulz Schumacher Schuster Schwarz Seidel Simon Sommer Stein Thomas Vogel Vogt Voigt Wagner Walter Weber Weiß
Werner Winkler Winter Wolf Ziegler Zimmermann"""
_FIRST_FR = """Adèle Adrien Agnès Alain Alexandre Alice Amélie Anne Antoine Arnaud Audrey Aurélie Baptiste
Benoît Bernard Bertrand Brigitte Camille Caroline Catherine Cécile Céline Charles Charlotte Chloé Christophe
Claire Clément Damien David Delphine Denis Didier Dominique Élise Élodie Émilie Emmanuel Éric Étienne Fabien
Fabrice Florence François Françoise Frédéric Gaëlle Gérard Gilles Guillaume Hélène Hugo Inès Isabelle Jacques
Jean Jeanne Jérôme Joël Julie Julien Laetitia Laurence Laurent Léa Louis Lucie Luc Manon Marc Margaux Marie
Marine Martine Mathieu Maxime Michel Monique Nathalie Nicolas Océane Olivier Pascal Patrice Patricia Pauline
Philippe Pierre Quentin Raphaël Rémi Romain Sandrine Sébastien Serge Solène Sophie Stéphane Sylvain Sylvie
Thérèse Thierry Thomas Valérie Vincent Virginie Xavier Yann Yves"""
_LAST_FR = """André Arnaud Aubert Barbier Baron Benoît Bernard Berger Bertrand Blanc Blanchard Bonnet Boucher
Bourgeois Boyer Brun Brunet Caron Chevalier Clément Colin Collet David Denis Deschamps Dubois Dufour Dumas
Dumont Dupont Durand Duval Fabre Faure Fleury Fontaine Fournier François Gaillard Garnier Gauthier Gautier
Gérard Girard Giraud Guérin Guillaume Henry Hubert Jacquet Joly Lacroix Lambert Laurent Leblanc Leclerc Lecomte
Lefèvre Legrand Lemaire Lemoine Leroux Leroy Lucas Marchand Marie Martin Martinez Masson Mathieu Menard Mercier
Meunier Meyer Michel Moreau Morel Morin Moulin Muller Nicolas Noël Olivier Perrin Petit Philippe Picard Pierre
Renard Renaud Rey Richard Rivière Robert Robin Roche Rolland Roussel Rousseau Roux Roy Schmitt Simon Thomas
Vidal Vincent"""
_FIRST_ES = """Adrián Alba Alberto Alejandra Alejandro Alicia Álvaro Ana Andrés Ángel Antonia Antonio Beatriz
Belén Carlos Carmen Carolina Celia César Clara Concepción Cristina Daniel David Diego Dolores Eduardo Elena
Emilio Enrique Esther Eva Fátima Felipe Fernando Francisca Francisco Gabriel Gloria Gonzalo Guillermo Héctor
Hugo Ignacio Inés Irene Isabel Iván Jaime Javier Jesús Joaquín Jorge José Josefa Juan Julia Julián Laura Lorena
Lucía Luis Manuel Marcos María Marina Mario Marta Mercedes Miguel Mónica Montserrat Natalia Nerea Noelia Nuria
Óscar Pablo Paloma Patricia Paula Pedro Pilar Rafael Ramón Raquel Raúl Ricardo Roberto Rocío Rosa Rubén Salvador
Samuel Sandra Santiago Sara Sergio Silvia Sonia Susana Teresa Tomás Vicente Víctor Yolanda"""
_LAST_ES = """Aguilar Alonso Álvarez Arias Benítez Blanco Bravo Caballero Cabrera Calvo Campos Cano Carmona
Carrasco Castillo Castro Cortés Crespo Cruz Delgado Díaz Díez Domínguez Durán Esteban Fernández Ferrer Flores
Fuentes Gallardo Gallego García Garrido Gil Giménez Gómez González Guerrero Gutiérrez Hernández Herrera Herrero
Hidalgo Ibáñez Iglesias Jiménez León López Lorenzo Lozano Marín Márquez Martín Martínez Medina Méndez Molina
Montero Montes Mora Morales Moreno Moya Muñoz Navarro Nieto Núñez Ortega Ortiz Parra Pascual Pastor Peña Pérez
Prieto Ramírez Ramos Reyes Rodríguez Rojas Román Romero Rubio Ruiz Sáez Sánchez Santana Santiago Santos Sanz
Serrano Soler Soto Suárez Torres Vargas Vázquez Vega Vicente Vidal"""

LANGUAGES = ("it", "de", "fr", "es")
FIRST_NAMES = tuple(np.array(text.split(), dtype=object) for text in (_FIRST_IT, _FIRST_DE, _FIRST_FR, _FIRST_ES))
LAST_NAMES = tuple(np.array(text.split(), dtype=object) for text in (_LAST_IT, _LAST_DE, _LAST_FR, _LAST_ES))

_COMPANY = (
    (
        "Officine {n} S.r.l.",
        "{n} Meccanica S.p.A.",
        "Costruzioni Meccaniche {n} S.r.l.",
        "Fratelli {n} S.n.c.",
        "{n} & {m} S.r.l.",
        "Gruppo {n} S.p.A.",
        "{n} Impianti S.r.l.",
        "Industrie {n} S.p.A.",
        "Ditta {f} {n}",
    ),
    ("{n} Maschinenbau GmbH", "{n} & {m} GmbH", "{n} Technik GmbH & Co. KG", "{n} Werke AG", "{f} {n} e.K."),
    ("Établissements {n} SAS", "{n} Industrie SA", "Ateliers {n} SARL", "{n} et {m} SAS", "Mécanique {n} SARL"),
    ("Talleres {n} S.L.", "{n} Industrial S.A.", "Hermanos {n} S.L.", "{n} y {m} S.L.", "Maquinaria {n} S.A."),
)
_PHONE = ("+39 02 555{:05d}", "+49 30 23125{:03d}", "+33 1 99 00 {:02d} {:02d}", "+34 91 555 {:04d}")
_MOBILE = ("+39 320 555{:04d}", "+49 171 39200{:02d}", "+33 6 39 98 {:02d} {:02d}", "+34 655 55{:04d}")


def people(language: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a first and a last name for each person, by the index of their language in `LANGUAGES`."""
    return _pick(FIRST_NAMES, language, rng), _pick(LAST_NAMES, language, rng)


def _pick(lists: tuple[np.ndarray, ...], language: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    share = rng.random(len(language))
    result = np.empty(len(language), dtype=object)
    for index, names in enumerate(lists):
        rows = language == index
        result[rows] = names[(share[rows] * len(names)).astype(int)]
    return result


def company_names(language: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a company name for each row; some carry the name of their only person."""
    first, last = people(language, rng)
    other = _pick(LAST_NAMES, language, rng)
    form = rng.random(len(language))
    return np.array(
        [
            _COMPANY[lang][int(share * len(_COMPANY[lang]))].format(f=f, n=n, m=m)
            for lang, share, f, n, m in zip(language, form, first, last, other, strict=True)
        ],
        dtype=object,
    )


def emails(first: np.ndarray, last: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """Return `first.last@domain`, in plain letters."""
    return np.array([f"{_plain(f)}.{_plain(s)}@{d}" for f, s, d in zip(first, last, domain, strict=True)], dtype=object)


def domains(company: np.ndarray, number: np.ndarray, language: np.ndarray) -> np.ndarray:
    """Return a domain for each company that nobody can own: `<name>-<number>.<country>.example`."""
    words = ("".join(c for c in _plain(name.split(" ")[-2]) if c.isalnum()) for name in company)
    return np.array(
        [f"{w or 'azienda'}{n}.{LANGUAGES[i]}.example" for w, n, i in zip(words, number, language, strict=True)],
        dtype=object,
    )


def _plain(name: str) -> str:
    letters = name.replace("ß", "ss").lower()
    return unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()


def phones(language: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a telephone number for each person, one in three a mobile one."""
    mobile = rng.random(len(language)) < 1 / 3
    digits = rng.integers(0, 100_000, len(language))
    return np.array(
        [
            _digits((_MOBILE if m else _PHONE)[lang], int(d))
            for lang, m, d in zip(language, mobile, digits, strict=True)
        ],
        dtype=object,
    )


def _digits(form: str, number: int) -> str:
    if form.count("{") == 2:
        return form.format(number // 100 % 100, number % 100)
    width = int(form.split(":0")[1][0])
    return form.format(number % 10**width)
