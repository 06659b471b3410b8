"""What the user sees: one picture of the desktop, drawn from the journal. Not a window system; nothing here decides.

The hard part is restraint: a state is a word and a sign, never a colour alone; what does not fit is counted, not cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

    from vafw_appliances.desktop.journal import Entry, Journal

WIDTH: Final = 800
HEIGHT: Final = 600
Colour: TypeAlias = tuple[int, int, int]

NIGHT: Final = (24, 34, 56)
DAWN: Final = (58, 96, 128)
PAPER: Final = (250, 250, 247)
LINE: Final = (222, 224, 226)
INK: Final = (34, 40, 49)
FAINT: Final = (118, 126, 138)
GOOD: Final = (36, 128, 84)
BAD: Final = (184, 60, 52)
OPEN: Final = (150, 112, 24)

ROWS: Final = 13
"""Entries that fit the window."""
ROW_HEIGHT: Final = 27
WINDOW: Final = (32, 72, 768, 548)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a display wants it: `height` rows of `width` pixels, three bytes each."""

    width: int
    height: int
    rgb: bytes


def draw(name: str, mode: str, journal: Journal, up_s: float) -> Picture:
    """The desktop of the machine `name` `up_s` seconds after it began."""
    from PIL import Image, ImageDraw  # deferred: a third of a second that only a drawn screen is worth

    image = Image.new("RGB", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(image)
    _background(pen)
    _top_bar(pen, name, mode, up_s)
    _window(pen, "Network activity")
    _entries(pen, journal.entries)
    _counters(pen, journal)
    return Picture(WIDTH, HEIGHT, image.tobytes())


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont  # deferred, as above

    return ImageFont.load_default(size)


def _background(pen: ImageDraw.ImageDraw) -> None:
    for row in range(HEIGHT):
        part = row / HEIGHT
        mixed = [round(night + (dawn - night) * part) for night, dawn in zip(NIGHT, DAWN, strict=True)]
        pen.line(((0, row), (WIDTH, row)), fill=(mixed[0], mixed[1], mixed[2]))


def _top_bar(pen: ImageDraw.ImageDraw, name: str, mode: str, up_s: float) -> None:
    pen.rectangle((0, 0, WIDTH, 40), fill=(16, 22, 38))
    pen.text((32, 20), name, font=_font(18), fill=PAPER, anchor="lm")
    minutes, seconds = divmod(int(up_s), 60)
    status = f"{mode}   up {minutes} min {seconds:02d} s"
    pen.text((WIDTH - 32, 20), status, font=_font(14), fill=(176, 190, 208), anchor="rm")


def _window(pen: ImageDraw.ImageDraw, title: str) -> None:
    left, top, right, bottom = WINDOW
    pen.rounded_rectangle((left + 5, top + 7, right + 5, bottom + 7), 12, fill=(20, 30, 48))
    pen.rounded_rectangle(WINDOW, 12, fill=PAPER)
    pen.rounded_rectangle((left, top, right, top + 40), 12, fill=(236, 238, 240))
    pen.rectangle((left, top + 28, right, top + 40), fill=(236, 238, 240))
    pen.line(((left, top + 40), (right, top + 40)), fill=LINE)
    pen.text(((left + right) / 2, top + 20), title, font=_font(16), fill=INK, anchor="mm")


def _entries(pen: ImageDraw.ImageDraw, entries: Sequence[Entry]) -> None:
    left, top = WINDOW[0] + 20, WINDOW[1] + 50
    if not entries:
        pen.text((left, top + 20), "Nothing sent, nothing received yet.", font=_font(15), fill=FAINT)
        return
    shown = entries[-ROWS:]
    for row, entry in enumerate(shown):
        _entry(pen, left, top + row * ROW_HEIGHT, entry)
    if earlier := len(entries) - len(shown):
        pen.text((WINDOW[2] - 20, WINDOW[1] + 20), f"{earlier} earlier", font=_font(13), fill=FAINT, anchor="rm")


def _entry(pen: ImageDraw.ImageDraw, left: int, top: int, entry: Entry) -> None:
    middle = top + ROW_HEIGHT / 2
    colour = OPEN if entry.good is None else GOOD if entry.good else BAD
    _sign(pen, left + 8, middle, entry.good, colour)
    pen.text((left + 28, middle), entry.kind, font=_font(14), fill=FAINT, anchor="lm")
    pen.text((left + 92, middle), _fitted(pen, entry.subject, 330), font=_font(15), fill=INK, anchor="lm")
    pen.text((WINDOW[2] - 20, middle), _fitted(pen, entry.outcome, 260), font=_font(15), fill=colour, anchor="rm")
    pen.line(((left, top + ROW_HEIGHT), (WINDOW[2] - 20, top + ROW_HEIGHT)), fill=LINE)


def _sign(pen: ImageDraw.ImageDraw, x: float, y: float, good: bool | None, colour: Colour) -> None:
    """A tick, a cross, or an open ring: the state for eyes that see no colour."""
    if good is None:
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), outline=colour, width=2)
    elif good:
        pen.line(((x - 6, y), (x - 2, y + 5), (x + 6, y - 5)), fill=colour, width=3, joint="curve")
    else:
        pen.line(((x - 5, y - 5), (x + 5, y + 5)), fill=colour, width=3)
        pen.line(((x - 5, y + 5), (x + 5, y - 5)), fill=colour, width=3)


def _fitted(pen: ImageDraw.ImageDraw, text: str, limit: int) -> str:
    font = _font(15)
    if pen.textlength(text, font=font) <= limit:
        return text
    while text and pen.textlength(text + "...", font=font) > limit:
        text = text[:-1]
    return text + "..."


def _counters(pen: ImageDraw.ImageDraw, journal: Journal) -> None:
    facts = (
        ("received", f"{journal.frames_in:,} frames", f"{journal.bytes_in:,} bytes"),
        ("sent", f"{journal.frames_out:,} frames", f"{journal.bytes_out:,} bytes"),
        ("went well", str(journal.count(True)), "answered or opened"),
        ("did not", str(journal.count(False)), "refused or unknown"),
        ("no answer", str(journal.count(None)), "waiting or dropped"),
    )
    top = WINDOW[3] - 66
    width = (WINDOW[2] - WINDOW[0]) / len(facts)
    pen.line(((WINDOW[0], top), (WINDOW[2], top)), fill=LINE)
    for column, (label, figure, unit) in enumerate(facts):
        x = WINDOW[0] + width * (column + 0.5)
        pen.text((x, top + 14), label, font=_font(12), fill=FAINT, anchor="mm")
        pen.text((x, top + 33), figure, font=_font(17), fill=INK, anchor="mm")
        pen.text((x, top + 52), unit, font=_font(12), fill=FAINT, anchor="mm")
