"""Templates of the pages, filled in; whatever comes from a run folder is escaped."""

from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def render(name: str, **context) -> str:
    """Text of a page made of the template `name`; every name that it uses must be in `context`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**context)


def template_text(name: str) -> str:
    """A file of the templates as it stands: style sheets and programs."""
    return (TEMPLATES / name).read_text(encoding="utf-8")
