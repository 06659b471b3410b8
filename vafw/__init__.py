"""vafw moves a PC's network card out of the user's OS and behind attested security appliances."""

__version__ = "0.1.0"
