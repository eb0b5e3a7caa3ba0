"""How a page looks, as the browser has it."""

from playwright.async_api import Page

CONTRAST_MIN = 4.5
CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => rgb
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const backgrounds = (element) => (element
    ? [...backgrounds(element.parentElement), getComputedStyle(element).backgroundColor] : []);
  const texts = [...document.body.querySelectorAll('*')].filter((element) =>
    element.checkVisibility() && element.tagName !== 'path' && (element.matches('input, textarea')
      || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())));
  return texts.map((element) => {
    const behind = backgrounds(element);
    const levels = [paint(behind), paint([...behind, getComputedStyle(element).color])]
      .map(luminance).sort((a, b) => b - a);
    return [`${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}`,
      (levels[0] + 0.05) / (levels[1] + 0.05)];
  });
}"""


async def overflow_px(page: Page) -> int:
    """Return by how much the page is wider than the window."""
    return int(await page.evaluate("document.documentElement.scrollWidth - innerWidth"))
