"""Comparison, findings, plots and the page: numbers against scikit-learn, the page against an HTML parser."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from wavestream.engine.errors import InputError
from wavestream.engine.store import open_store
from wavestream.trainers import plots
from wavestream.trainers.comparison import Row, Scores, Table, compare, mean_auc, mean_difference, safe_level
from wavestream.trainers.filesize import SizeGuard, size_guard
from wavestream.trainers.findings import findings, with_interval
from wavestream.trainers.gallery import artifact_gallery, as_shown, choose_samples
from wavestream.trainers.report import ReportContent, difference_text, interval_text, write_report
from wavestream.trainers.statistics import Interval, bootstrap_auc, paired_bootstrap
from wavestream.trainers.storage import LevelStorage
from wavestream.trainers.study_config import StudyConfig
from wavestream.trainers.target import read_target

LEVELS = (1.0, 0.1, 0.01)
STORAGE = [
    LevelStorage(1.0, 45, 4000, 8000, 6000, 5000, 5500, np.inf),
    LevelStorage(0.1, 45, 4000, 8000, 3000, 2500, 700, 40.0),
    LevelStorage(0.01, 45, 4000, 8000, 2000, 1500, 90, 28.0),
]


def make_scores(strength: float, seed: int, patients: int = 60) -> Scores:
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients, dtype=np.uint64), 2)
    labels = (patient % 2).astype(np.int64)
    common = np.random.default_rng(99).normal(size=labels.size)
    signal = strength * labels + common + 0.1 * rng.normal(size=labels.size)
    return Scores(labels, 1 / (1 + np.exp(-signal)), patient, np.arange(labels.size))


def make_table(seeds: tuple[int, ...] = (0, 1)) -> Table:
    """Clean training falls with compression, training with injection falls less."""
    strength = {(0.0, 1.0): 3, (0.0, 0.1): 2.99, (0.0, 0.01): 0.2, (0.75, 1.0): 3, (0.75, 0.1): 2.98, (0.75, 0.01): 2}
    return {
        (probability, seed, keep): make_scores(value, seed * 100 + round(1000 * keep) + round(10 * probability))
        for (probability, keep), value in strength.items()
        for seed in seeds
    }


def find(rows: list[Row], probability: float, keep: float) -> Row:
    return next(row for row in rows if (row.probability, row.keep) == (probability, keep))


def interval(estimate: float, low: float, high: float) -> Interval:
    return Interval(estimate, low, high, 0.95, 2000, 0)


def test_rows_hold_sklearns_auc_and_the_paired_differences() -> None:
    table = make_table(seeds=(4,))
    rows = compare(table, pooled=False)
    assert [(row.probability, row.keep) for row in rows] == [(p, k) for p in (0.0, 0.75) for k in LEVELS]
    for row in rows:
        scores = table[row.probability, 4, row.keep]
        assert row.auc.estimate == pytest.approx(roc_auc_score(scores.labels, scores.scores))
        assert (row.images, row.patients, row.seeds) == (120, 60, (4,))
    row = find(rows, 0.75, 0.01)
    mine, lossless, clean = table[0.75, 4, 0.01], table[0.75, 4, 1.0], table[0.0, 4, 0.01]
    assert row.to_lossless == paired_bootstrap(mine.labels, lossless.scores, mine.scores, mine.patients)
    assert row.to_clean == paired_bootstrap(mine.labels, clean.scores, mine.scores, mine.patients)
    assert find(rows, 0.0, 1.0).to_lossless is None
    assert find(rows, 0.0, 0.1).to_clean is None


def test_one_model_is_the_plain_bootstrap_and_several_are_their_mean() -> None:
    one, two = make_scores(1.0, 1), make_scores(0.5, 2)
    assert mean_auc([one]) == bootstrap_auc(one.labels, one.scores, one.patients)
    singles = [roc_auc_score(model.labels, model.scores) for model in (one, two)]
    pooled = mean_auc([one, two])
    assert pooled.estimate == pytest.approx(np.mean(singles))
    assert pooled.low < pooled.estimate < pooled.high
    assert mean_difference([one, two], [one, two]).low == 0
    swapped = mean_difference([one], [two])
    assert swapped.estimate == pytest.approx(singles[1] - singles[0])


def test_pooled_rows_use_the_seeds_that_both_sides_have() -> None:
    table = make_table(seeds=(0, 1))
    del table[0.0, 1, 0.01]
    row = find(compare(table, pooled=True), 0.75, 0.01)
    assert row.seeds == (0, 1)
    assert row.to_clean == mean_difference([table[0.0, 0, 0.01]], [table[0.75, 0, 0.01]])
    assert find(compare(table, pooled=True), 0.0, 0.01).seeds == (0,)


def test_scores_of_other_images_are_refused() -> None:
    table = make_table(seeds=(0,))
    other = make_scores(1.0, 0)
    table[0.75, 0, 0.01] = Scores(other.labels, other.scores, other.patients, other.index + 1)
    with pytest.raises(InputError, match=r"same images.*0\.75.*0\.01"):
        compare(table, pooled=False)


@pytest.mark.parametrize(
    ("lows", "expected"),
    [((-0.01, -0.015), 0.01), ((-0.01, -0.03), 0.1), ((-0.03, -0.01), 1.0), ((-0.02, -0.01), 1.0)],
)
def test_the_safe_level_stops_at_the_first_failure(lows: tuple[float, float], expected: float) -> None:
    rows = [
        Row(0.0, keep, (0,), 10, 10, interval(0.9, 0.8, 1), difference, None)
        for keep, difference in zip(LEVELS, (None, *(interval(0, low, 0.01) for low in lows)), strict=True)
    ]
    assert safe_level(rows, 0.0, margin=0.02) == expected
    assert safe_level(rows[1:], 0.0, margin=0.02) is None


def test_findings_claim_what_the_intervals_show() -> None:
    rows = compare(make_table(), pooled=True)
    text = findings(rows, STORAGE, margin=0.02)
    assert with_interval(find(rows, 0.0, 1.0).auc) in text[0]
    assert "At 1 % of the coefficients its AUC falls to" in text[0]
    assert "at 10 % no fall can be distinguished" in text[0]
    assert "Down to 10 %" in text[1]
    assert "7.86 times fewer bytes" in text[1]
    assert "75 % injected raises the AUC at 1 %: +" in text[2]
    assert "lossless and 10 % the two cannot be distinguished" in text[2]


def test_findings_admit_chance_and_overlap() -> None:
    weak = {key: make_scores(0.05, seed=3) for key in make_table(seeds=(0,))}
    text = findings(compare(weak, pooled=True), STORAGE, margin=0.02)
    assert "cannot be distinguished from chance" in text[0]
    assert "not proof that nothing is lost" in text[0]
    assert "cannot be distinguished at any level tested" in text[-1]
    worse = {key: make_scores(2.0 if key[0] == 0 else 0.3, key[1]) for key in make_table(seeds=(0,))}
    assert "lowers the AUC at lossless: −" in findings(compare(worse, pooled=True), STORAGE, margin=0.02)[-1]


def test_numbers_are_written_out() -> None:
    assert interval_text(interval(0.9125, 0.8, 1)) == "0.912 (0.800–1.000)"
    assert difference_text(interval(-0.0125, -0.03, 0.01)) == "−0.013 (−0.030 to +0.010)"
    assert interval_text(None) == interval_text(interval(np.nan, np.nan, np.nan)) == "–"
    assert plots.keep_label(0.0001) == "0.01 %"
    assert plots.keep_label(1.0) == "lossless"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path) -> dict[str, Path]:
    rows = compare(make_table(seeds=(0,)), pooled=True)
    history = [{"epoch": 1, "train_loss": 0.7, "val_auc": 0.5}, {"epoch": 2, "train_loss": 0.4, "val_auc": 0.8}]
    drawn = {
        "auc_by_level": plots.auc_by_level(rows, 0.55),
        "auc_by_bytes": plots.auc_by_bytes(rows, STORAGE),
        "auc_by_probability": plots.auc_by_probability(rows),
        "storage": plots.storage_bars(STORAGE),
        "training": plots.training_curves({"clean": history, "75 %": history}),
        "gallery": artifact_gallery(open_store(tiny_store), "sex", LEVELS),
    }
    folder = tmp_path_factory.mktemp("plots")
    return {name: plots.save_figure(figure, folder, name) for name, figure in drawn.items()}


def test_every_figure_is_an_svg_and_a_png_with_labelled_axes(figures: dict[str, Path]) -> None:
    for name, svg in figures.items():
        assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        with Image.open(svg.with_suffix(".png")) as image:
            assert min(image.size) > 300
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 5, name
    rows = compare(make_table(seeds=(0,)), pooled=True)
    for figure in (plots.auc_by_level(rows), plots.auc_by_bytes(rows, STORAGE), plots.auc_by_probability(rows)):
        (axes,) = figure.axes
        assert axes.get_xlabel()
        assert "AUC" in axes.get_ylabel()


def test_figures_plot_the_rows() -> None:
    rows = compare(make_table(seeds=(0,)), pooled=True)
    (axes,) = plots.auc_by_level(rows).axes
    for probability, line in zip((0.0, 0.75), axes.get_lines(), strict=False):
        expected = [find(rows, probability, keep).auc.estimate for keep in LEVELS]
        np.testing.assert_allclose(line.get_ydata(), expected)
    (axes,) = plots.storage_bars(STORAGE).axes
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [5, 2.5, 1.5, 6, 3, 2, 5.5, 0.7, 0.09])


def test_the_gallery_shows_one_test_image_per_class(tiny_store: Path) -> None:
    store = open_store(tiny_store)
    codes, _ = store.target("sex")
    samples = choose_samples(store, "sex")
    assert len(samples) == 2
    assert set(samples) <= set(store.split_indices("test").tolist())
    assert [codes[index] for index in samples] == [0, 1]
    pixels = np.array([[0, 4095]], np.uint16)
    plain = next(index for index in range(45) if not store.table["inverted"][index] and store.table["slope"][index] > 0)
    inverted = next(index for index in range(45) if store.table["inverted"][index] and store.table["slope"][index] > 0)
    assert as_shown(store, plain, pixels).tolist() == [[0, 1]]
    assert as_shown(store, inverted, pixels).tolist() == [[1, 0]]


class PageParser(HTMLParser):
    """Collects what could reach out of a page, and what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def make_content(store_path: Path, figures: dict[str, Path], guard: SizeGuard, failures: list[str]) -> ReportContent:
    store = open_store(store_path)
    table = make_table()
    training: Any = SimpleNamespace(best_epoch=3, epochs_run=5, val_auc=0.9, seconds=12.0, images_per_second=50.0)
    return ReportContent(
        config=StudyConfig(str(store_path), "out", seeds=(0, 1), device="cpu").to_json(),
        store=store,
        target=read_target(store, "sex"),
        rows=compare(table, pooled=False),
        pooled=compare(table, pooled=True),
        findings=findings(compare(table, pooled=True), STORAGE, margin=0.02),
        storage=STORAGE,
        guard=guard,
        trainings={"injected-0-seed-0-<b>": training},
        figures=figures,
        failures=failures,
    )


def test_the_page_is_whole_and_reaches_out_for_nothing(
    tmp_path: Path, tiny_store: Path, figures: dict[str, Path]
) -> None:
    guard = size_guard(open_store(tiny_store), "sex")
    content = make_content(tiny_store, figures, guard, ["injected-75-seed-1: RuntimeError: <script>out of memory"])
    text = write_report(tmp_path / "report.html", content).read_text(encoding="utf-8")
    page = PageParser()
    page.feed(text)
    assert page.open == []
    assert len(page.links) == len(figures)
    assert all(link.startswith("data:image/") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "@import" not in text
    for finding in content.findings:
        assert finding in page.text
    assert "Not for clinical use" in page.text
    assert "<script>out of memory" in page.text
    assert "injected-0-seed-0-<b>" in page.text
    assert str(tiny_store.parent) not in text
    row = find(list(content.pooled), 0.75, 0.01)
    assert interval_text(row.auc) in page.text
    assert difference_text(row.to_clean) in page.text
    assert json.dumps(content.config["levels"])[1:5] in page.text
    assert "One seed" not in page.text


def test_the_page_warns_when_size_predicts_the_label(
    tmp_path: Path, tiny_store: Path, figures: dict[str, Path]
) -> None:
    for auc, warned in ((0.9, True), (0.55, False)):
        content = make_content(tiny_store, figures, SizeGuard(auc, 0.4, 0.95, 0.52, 9), [])
        text = write_report(tmp_path / "report.html", content).read_text(encoding="utf-8")
        assert ("File size alone reaches an AUC of 0.90" in text) == warned
        assert "trials failed" not in text
