"""The picture and the page are real files with the figures in them."""

from pathlib import Path

from PIL import Image

from takeover.evaluate.report import GenerationRow, page, plot


def row(generation: int, gate: str, sr: float) -> GenerationRow:
    return GenerationRow(
        generation,
        gate,
        sr,
        (sr - 0.1, sr + 0.1),
        60.0,
        (50.0, 70.0),
        0.95,
        4.0,
        1.5,
        0.1,
        0.05,
        0.01,
        generation == 1,
        64,
    )


def test_plot_and_page(tmp_path: Path) -> None:
    rows = [row(0, "start", 0.4), row(1, "promote", 0.625)]
    picture = plot(rows, tmp_path / "run.png")
    with Image.open(picture) as image:
        assert image.size[0] > 800
    decisions = [{"round": 1, "outcome": "promote", "reason": "12 gained <b>&</b> 2 lost"}]
    html = page(
        rows, decisions, {"drives": 30.0, "refine": 10.0}, picture, tmp_path / "run.html", "A run"
    ).read_text()
    assert "62.5" in html
    assert "&lt;b&gt;" in html
    assert "data:image/png;base64," in html
    assert "40.0" in html
