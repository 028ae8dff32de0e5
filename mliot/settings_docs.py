"""What people read about the settings: ``python -m mliot.settings_docs`` writes ``docs/settings.md`` and ``.env.example``."""

import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mliot.settings import PREFIX, Settings

HEAD = """# Settings
Every setting is an environment variable; `.env` in the working folder is read too, and before it the one beside the
stack's `.mliot`, if that lies further up. A wrong one ends the start with one line that names
the variable, its value and what is allowed; a misspelt one with a line that names the nearest of these. `mliot up` refuses a stack that
runs with other settings, and says which differ. This page is made from `mliot/settings.py` by `python -m mliot.settings_docs`.

| variable | default | what it is |
|---|---|---|
"""


def settings_page() -> str:
    """The text of ``docs/settings.md``."""
    rows = (f"| `{name}` | {f'`{value}`' if value else 'empty'} | {about} |" for name, value, about in _settings())
    return HEAD + "\n".join(rows) + "\n"


def env_example() -> str:
    """The text of ``.env.example``: every setting at its default, commented out."""
    return "".join(f"# {about}\n#{name}={value}\n" for name, value, about in _settings())


def _settings() -> list[tuple[str, str, str]]:
    return [(f"{PREFIX}{name.upper()}", _shown(field.default), field.description or "") for name, field in Settings.model_fields.items()]


def _shown(default: Any) -> str:
    if default is None:
        return ""
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


def main(root: Path) -> None:
    (root / "docs" / "settings.md").write_text(settings_page())
    (root / ".env.example").write_text(env_example())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
