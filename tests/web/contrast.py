"""Contrast of colours by WCAG 2.1: from the style sheet alone, and of what a page shows."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

import candled.stream.web
from tests.web.browser import Page

STATIC = Path(candled.stream.web.__file__).parent / "static"
TEXT_MIN = 4.5
"""Contrast of text on its background, level AA."""
PART_MIN = 3.0
"""Contrast of large text, and of a part of a control or a drawing that one has to see."""
LARGE_PX, LARGE_BOLD_PX = 24.0, 18.66

Color = tuple[float, float, float]
"""Red, green and blue, 0 to 255."""


def luminance(color: Color) -> float:
    """Relative luminance: 0 for black, 1 for white."""

    def linear(value: float) -> float:
        part = value / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    """Contrast ratio of two colours, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(above: Color, below: Color, alpha: float) -> Color:
    """A colour of some opacity over an opaque one."""
    red, green, blue = (a * alpha + b * (1 - alpha) for a, b in zip(above, below, strict=True))
    return red, green, blue


def saturated(color: Color, amount: float) -> Color:
    """What the filter ``saturate(amount)`` makes of a colour."""
    gray = 0.213 * color[0] + 0.715 * color[1] + 0.072 * color[2]
    red, green, blue = (min(255.0, max(0.0, gray + amount * (value - gray))) for value in color)
    return red, green, blue


def from_hex(text: str) -> Color:
    """Colour of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def theme_colors(style: str) -> dict[str, dict[str, Color]]:
    """Custom properties that are colours, by theme and name."""

    def block(selector: str) -> dict[str, Color]:
        found = re.search(rf"^{re.escape(selector)} {{(.*?)^}}", style, re.DOTALL | re.MULTILINE)
        assert found is not None, selector
        return {name: from_hex(text) for name, text in re.findall(r"--([\w-]+): (#\w{6});", found[1])}

    dark = block(":root")
    return {"dark": dark, "light": dark | block(':root[data-theme="light"]')}


def too_faint(
    colors: Mapping[str, Color], pairs: Mapping[str, Sequence[str]], least: float
) -> dict[tuple[str, str], float]:
    """Of pairs foreground to backgrounds, those whose contrast is below the least, with what it is."""
    found = {
        (front, back): round(contrast(colors[front], colors[back]), 2)
        for front, backs in pairs.items()
        for back in backs
    }
    return {pair: ratio for pair, ratio in found.items() if ratio < least}


@attrs.frozen
class Text:
    """A text that is seen: what it says, where, and what is beneath it, outermost first."""

    words: str
    place: str
    color: tuple[float, ...]
    size: float
    weight: float
    layers: list[tuple[tuple[float, ...], float, str]]
    """Background with its alpha, opacity and filter of each element around the text."""

    @property
    def least(self) -> float:
        """Contrast that it needs."""
        is_large = self.size >= LARGE_PX or (self.weight >= 700 and self.size >= LARGE_BOLD_PX)
        return PART_MIN if is_large else TEXT_MIN

    @property
    def contrast(self) -> float:
        """Contrast of its pixels with those around them."""
        return contrast(self._pixel(0, (255, 255, 255), True), self._pixel(0, (255, 255, 255), False))

    def _pixel(self, depth: int, below: Color, is_ink: bool) -> Color:
        if depth == len(self.layers):
            return _over(self.color, below) if is_ink else below
        background, opacity, effect = self.layers[depth]
        inner = self._pixel(depth + 1, _over(background, below), is_ink)
        if effect != "none":
            found = re.fullmatch(r"saturate\(([\d.]+)\)", effect)
            assert found is not None, f"{self.place}: the filter {effect} is not known here"
            inner = saturated(inner, float(found[1]))
        return mixed(inner, below, opacity)


def _over(color: tuple[float, ...], below: Color) -> Color:
    red, green, blue, alpha = color
    return mixed((red, green, blue), below, alpha)


FIND_TEXTS = """(() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = text;
    paint.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = paint.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const top = document.querySelector("dialog[open]") ?? document.body;
  const placeOf = (element) => {
    const name = (each) => each.tagName.toLowerCase() + (each.id ? `#${each.id}` : each.className ? `.${each.className}` : "");
    return [element.parentElement, element].map(name).join(" > ");
  };
  const isSeen = (element, box) => element.checkVisibility({ visibilityProperty: true })
    && box.width > 1 && box.height > 1 && box.right > 0 && box.bottom > 0
    && box.left < innerWidth && box.top < innerHeight && !element.closest(".spoken, :disabled");
  const describe = (element, words, style) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const { backgroundColor, opacity, filter } = getComputedStyle(each);
      layers.unshift([rgba(backgroundColor), Number(opacity), filter]);
      if (each === top && each.tagName === "DIALOG") break; // drawn over the rest of the page
    }
    return {
      words: words.trim(), place: placeOf(element), color: rgba(style.color),
      size: parseFloat(style.fontSize), weight: Number(style.fontWeight), layers,
    };
  };
  const found = [];
  const nodes = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const node = nodes.currentNode;
    const range = document.createRange();
    range.selectNodeContents(node);
    const element = node.parentElement.closest("select") ?? node.parentElement;
    const box = element.tagName === "SELECT" ? element.getBoundingClientRect() : range.getBoundingClientRect();
    if (node.data.trim() && isSeen(element, box)) found.push(describe(element, node.data, getComputedStyle(element)));
  }
  for (const input of top.querySelectorAll("input:not([type=checkbox])")) {
    if (!isSeen(input, input.getBoundingClientRect())) continue;
    found.push(describe(input, input.value || input.placeholder, getComputedStyle(input, input.value ? null : "::placeholder")));
  }
  return found;
})()"""  # noqa: E501


async def seen_texts(page: Page) -> list[Text]:
    """Texts of the page that are seen now; of an open dialog, its own."""
    found: list[dict[str, Any]] = await page.evaluate(FIND_TEXTS)
    return [
        Text(
            words=each["words"],
            place=each["place"],
            color=tuple(each["color"]),
            size=each["size"],
            weight=each["weight"],
            layers=[(tuple(color), opacity, effect) for color, opacity, effect in each["layers"]],
        )
        for each in found
    ]
