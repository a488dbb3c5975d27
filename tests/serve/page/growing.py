"""A text that comes piece by piece, as an answer does, beside the same text all at once."""

__all__ = ["GROW"]

# Takes a text and where it is cut; gives what the page makes of it either way.
GROW = """
([text, cuts]) => import('/page/markdown.js').then(({ GrowingMarkdown, renderMarkdown }) => {
  const grown = document.createElement('div');
  const growing = new GrowingMarkdown(grown);
  for (const cut of cuts) growing.update(text.slice(0, cut), false);
  growing.update(text, true);
  const whole = document.createElement('div');
  whole.append(...renderMarkdown(text));
  return [grown.innerHTML, whole.innerHTML];
})
"""
