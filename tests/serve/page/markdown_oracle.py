"""What Markdown ought to become, by another program: markdown-it-py, in the shape of the page's nodes.

A tree is a list of texts and `[tag, attributes, children]`. Both sides are brought to it: the page's extra
boxes around code and tables and its lower headings are taken away, and so are the line ends of HTML source.
"""

from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt

ORACLE = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
VOID = {"br", "hr"}
BLOCKS = {"blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr"}
KEPT = {"a": ("href",), "ol": ("start",)}

# The page's nodes as the same tree. Runs in the browser.
PAGE_TREE = """
(text) => import('/page/markdown.js').then(({ renderMarkdown }) => {
  const tree = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return [node.data];
    const tag = node.localName;
    if (tag === 'div') return tree(node.querySelector(node.className === 'code' ? 'pre' : 'table'));
    if (tag === 'span') return [...node.childNodes].flatMap(tree);
    const attributes = {};
    if (tag === 'a') attributes.href = node.getAttribute('href');
    if (node.hasAttribute('start')) attributes.start = node.getAttribute('start');
    const aligned = /align-(\\w+)/.exec(node.className);
    if (aligned) attributes.align = aligned[1];
    const level = /level-(\\d)/.exec(node.className);
    return [[level ? `h${level[1]}` : tag, attributes, [...node.childNodes].flatMap(tree)]];
  };
  return renderMarkdown(text).flatMap(tree);
})
"""


class _Reader(HTMLParser):
    """Reads well-formed HTML into a tree."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root: list[Any] = []
        self._open: list[tuple[str, list[Any]]] = [("", self.root)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        attributes = {name: given[name] for name in KEPT.get(tag, ()) if name in given}
        if "text-align:" in (given.get("style") or ""):
            attributes["align"] = given["style"].partition(":")[2]
        node = [{"s": "del"}.get(tag, tag), attributes, []]
        self._open[-1][1].append(node)
        if tag not in VOID:
            self._open.append((tag, node[2]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1][1].append(data)


def expected_tree(text: str) -> list[Any]:
    """The tree that the other program makes."""
    reader = _Reader()
    reader.feed(ORACLE.render(text))
    reader.close()
    return _without_layout(reader.root)


def _without_layout(nodes: list[Any], parent: str = "") -> list[Any]:
    """A tree without the line ends that only lay out HTML's source."""
    found = []
    for node in nodes:
        if not isinstance(node, str):
            tag, attributes, children = node
            found.append([tag, attributes, _without_layout(children, tag)])
        elif parent != "code":
            found.append(node.strip("\n"))
        else:
            found.append(node.removesuffix("\n"))
    return joined(found)


def joined(nodes: list[Any]) -> list[Any]:
    """A tree in which texts that touch are one, and none is empty."""
    found: list[Any] = []
    for node in nodes:
        if not isinstance(node, str):
            found.append([node[0], node[1], joined(node[2])])
        elif found and isinstance(found[-1], str):
            found[-1] += node
        elif node:
            found.append(node)
    return found
