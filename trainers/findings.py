"""What a study found, in sentences that say no more than its intervals do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wavestream.trainers.comparison import CLEAN, LOSSLESS, Row, safe_level
from wavestream.trainers.plots import injection_label, keep_label
from wavestream.trainers.statistics import Interval
from wavestream.trainers.storage import LevelStorage

FINDINGS = "findings.txt"  # the sentences of a study, one per line


def findings(rows: Sequence[Row], storage: Sequence[LevelStorage], margin: float) -> list[str]:
    """The findings of a study, the headline first.

    Args:
        rows: pooled over seeds, as :func:`wavestream.trainers.comparison.compare` gives them.
        storage: measured bytes per level.
        margin: fall in AUC that counts as none.
    """
    probabilities = sorted({row.probability for row in rows})
    reference = probabilities[0]
    headline = f"{_baseline(rows, reference)} {_fall(rows, reference)}".strip()
    sentences = [headline, _safe(rows, storage, reference, margin)]
    sentences += [_training_effect(rows, probability) for probability in probabilities if probability != CLEAN]
    return [sentence for sentence in sentences if sentence]


def is_zero_excluded(interval: Interval) -> bool:
    """Whether an interval of a difference lies on one side of 0; not when an end is undefined."""
    return interval.low > 0 or interval.high < 0


def with_interval(interval: Interval, signed: bool = False) -> str:
    """``0.912 (95 % CI 0.871 to 0.948)``; with a sign for differences."""
    form = "{:+.3f}" if signed else "{:.3f}"
    estimate, low, high = (
        form.format(value).replace("-", "−") for value in (interval.estimate, interval.low, interval.high)
    )
    return f"{estimate} (95 % CI {low} to {high})"


def _trained(probability: float) -> str:
    return "trained on clean images" if probability == CLEAN else f"trained with {injection_label(probability)}"


def _baseline(rows: Sequence[Row], probability: float) -> str:
    for row in rows:
        if row.probability == probability and row.keep == LOSSLESS:
            text = (
                f"On lossless test images the model {_trained(probability)} reaches an AUC of {with_interval(row.auc)}"
            )
            if row.auc.low > 0.5:
                return f"{text}."
            return f"{text}, which cannot be distinguished from chance: nothing below says much about compression."
    return ""


def _fall(rows: Sequence[Row], probability: float) -> str:
    """Where compression of the test images is first seen to cost, for one training set."""
    compressed = [row for row in rows if row.probability == probability and row.to_lossless is not None]
    fallen = [row for row in compressed if row.to_lossless is not None and row.to_lossless.high < 0]
    if not compressed:
        return ""
    if not fallen:
        return (
            f"Down to {keep_label(compressed[-1].keep)} of the coefficients, its AUC on compressed test images cannot "
            "be distinguished from its lossless one; that is not proof that nothing is lost."
        )
    mildest, harshest = fallen[0], fallen[-1]
    text = f"At {keep_label(mildest.keep)} of the coefficients its AUC falls to {with_interval(mildest.auc)}"
    if harshest is not mildest:
        text += f", at {keep_label(harshest.keep)} to {with_interval(harshest.auc)}"
    milder = [row for row in compressed if row.keep > mildest.keep]
    if milder:
        text += f"; at {_listed(row.keep for row in milder)} no fall can be distinguished"
    return f"{text}."


def _safe(rows: Sequence[Row], storage: Sequence[LevelStorage], probability: float, margin: float) -> str:
    level = safe_level(rows, probability, margin)
    if level is None:
        return ""
    if level == LOSSLESS:
        return (
            f"At no compression level is the fall shown to be smaller than the margin of {margin:g} AUC; "
            "with more test patients the intervals would be narrower."
        )
    sizes = {row.keep: row.sparse_bytes for row in storage}
    ratio = ""
    if level in sizes and LOSSLESS in sizes:
        ratio = f"; that level stores {sizes[LOSSLESS] / sizes[level]:.3g} times fewer bytes than all coefficients"
    text = f"Down to {keep_label(level)} of the coefficients any fall is shown to be smaller than the margin"
    return f"{text} of {margin:g} AUC{ratio}."


def _training_effect(rows: Sequence[Row], probability: float) -> str:
    """Against clean training, level by level."""
    mine = [row for row in rows if row.probability == probability and row.to_clean is not None]
    better = [row for row in mine if row.to_clean is not None and row.to_clean.low > 0]
    worse = [row for row in mine if row.to_clean is not None and row.to_clean.high < 0]
    alike = [row for row in mine if row not in better and row not in worse]
    if not mine:
        return ""
    start = f"Against clean training, training with {injection_label(probability)}"
    parts = [
        f"{word} the AUC {', '.join(_change(row) for row in changed)}"
        for word, changed in (("raises", better), ("lowers", worse))
        if changed
    ]
    if not parts:
        return f"{start} cannot be distinguished at any level tested."
    text = f"{start} {' and '.join(parts)}"
    if alike:
        text += f"; at {_listed(row.keep for row in alike)} the two cannot be distinguished"
    return f"{text}."


def _change(row: Row) -> str:
    assert row.to_clean is not None
    return f"at {keep_label(row.keep)}: {with_interval(row.to_clean, signed=True)}"


def _listed(keeps: Iterable[float]) -> str:
    words = [keep_label(keep) for keep in keeps]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
