"""The documentation site: ``tox -e docs`` builds it, without network."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes

import auth_plugins

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent

project = "auth-plugins"
author = copyright = "the auth-plugins maintainers"  # noqa: A001 - Sphinx's name
version = release = version_of("auth-plugins")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_copybutton"]
exclude_patterns = ["_build"]
templates_path: list[str] = []
default_role = "literal"

# Each reference has to lead somewhere: sphinx-build -n -W.
nitpicky = True
# Types without a page of their own: what is a client of httpx and httpx2, what may be a key, what ``refused=`` takes,
# and keyword arguments.
nitpick_ignore = [("py:class", "Client"), ("py:class", "Key"), ("py:class", "Refused")]
nitpick_ignore_regex = [("py:class", r"(auth_plugins\._[\w.]+\.)?_?Overrides")]
# Small inventories in plain text, so that the build needs no network.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.txt"),
    "requests": ("https://requests.readthedocs.io/en/latest", "inventories/requests.txt"),
}

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"auth-plugins {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "monokai"
# Prompts and output are not copied.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_exclude = ".linenos, .gp, .go"


def setup(app: Sphinx) -> None:
    """Connect what is particular to this site."""
    app.connect("doctree-resolved", inline_diagrams)
    app.connect("missing-reference", public_reference)
    app.connect("autodoc-process-signature", types_of_parameters)
    app.connect("autodoc-process-docstring", parameters_of_httpx)


def inline_diagrams(app: Sphinx, document: nodes.document, _: str) -> None:
    """Put drawings into the page itself, so that their colours follow its theme and not the system's alone."""
    if app.builder.format != "html":
        return
    for image in list(document.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            drawing = (HERE / image["uri"]).read_text("utf-8")
            image.replace_self(nodes.raw("", f'<div class="diagram-frame">{drawing}</div>', format="html"))


def public_reference(
    _: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve the name of a class in its private module, as annotations have it, to its public name."""
    module, _dot, name = node.get("reftarget", "").rpartition(".")
    if name == "BaseSource":  # What grants know of a TokenSource.
        name, content = "TokenSource", nodes.inline("", "TokenSource")
    if not module.startswith("auth_plugins._") or name not in auth_plugins.__all__:
        return None
    target = f"auth_plugins.{name}"
    arguments: Any = (environment, node["refdoc"], environment.app.builder, "class", target, node, content)
    found: nodes.reference | None = environment.domains.python_domain.resolve_xref(*arguments)
    return found


def types_of_parameters(app: Sphinx, _what: str, name: str, described: Any, *_: object) -> None:
    """Show the types of ``header``, for which Sphinx shows an attribute's, and of ``dpop``, which is imported late."""
    types = app.env.current_document.autodoc_annotations.get(name, {})
    if name.endswith(".OAuth2Auth"):
        types["header"] = described.__init__.__annotations__["header"]
    if "dpop" in types:  # few programs need a key, so its module is not imported with the grants
        types["dpop"] = "bool | ~auth_plugins.DPoPKey | None"


def parameters_of_httpx(_app: Sphinx, _what: str, name: str, _described: object, _: object, lines: list[str]) -> None:
    """Have the parameters of httpx2's class on the page once: they are those of httpx's."""
    if name == "auth_plugins.httpx2.OAuth2Auth":
        first, end = (next(n for n, line in enumerate(lines) if line.startswith(s)) for s in (":param", ":raises"))
        same = "The parameters are those of :class:`auth_plugins.httpx.OAuth2Auth`; *client* is an ``httpx2.Client``."
        lines[first:end] = [same, ""]
