"""Where every text that people read passes through: another language is one catalogue away.

Templates say ``{{ _("...") }}`` or ``{% trans %}``, Python says ``_("...")``; scripts find their texts in the page. A
text that is only named here and shown elsewhere is marked with ``N_``. ``pybabel extract`` finds all of them.
"""

from __future__ import annotations

from gettext import NullTranslations

TRANSLATIONS = NullTranslations()
_ = TRANSLATIONS.gettext
ngettext = TRANSLATIONS.ngettext


def N_(text: str) -> str:
    """The text as it is, marked for translation where it is shown."""
    return text
