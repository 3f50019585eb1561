"""The report as one HTML page that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isnan

from nnunetv2_cfseg.demo.scores import CaseScore, ClassScore, Scores
from nnunetv2_cfseg.demo.settings import CLASSES, DATASET, DATASET_ID, VALIDATION_CASES, DemoSettings
from nnunetv2_cfseg.demo.style import STYLE

DATASET_FORMAT = "https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md"
ABSENT = "\N{EN DASH}"
FALSE_ALARM = "\N{DAGGER}"


@dataclass(frozen=True)
class Picture:
    """A scan's picture: what the scan is (best, median, worst), its words for those who cannot see it, its file."""

    title: str
    case: CaseScore
    alt: str
    png: bytes


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step in all its runs, of which there is more than one if it was stopped."""

    title: str
    seconds: float
    runs: int


@dataclass(frozen=True)
class Page:
    """All that the report shows; ``commands`` is a script for bash."""

    settings: DemoSettings
    scores: Scores
    pictures: Sequence[Picture]
    times: Sequence[StepTime]
    versions: Mapping[str, str]
    commands: str


def render(page: Page) -> str:
    """The page as HTML."""
    sections = (
        _summary(page),
        _classes(page.scores),
        _pictures(page.pictures),
        _cases(page.scores.cases),
        _times(page),
        _commands(page.commands),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>cfseg demo</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def score(value: float) -> str:
    """Three decimals, or a dash for NaN."""
    return ABSENT if isnan(value) else f"{value:.3f}"


def _summary(page: Page) -> str:
    settings, scores = page.settings, page.scores
    matrix = " x ".join(str(n) for n in settings.matrix)
    spacing = " x ".join(f"{mm:g}" for mm in settings.spacing_mm)
    return f"""<h1>Five kinds of bleeding, found without convolution</h1>
<p class="headline">Mean Dice over the five classes on {settings.test} unseen scans:
<strong>{score(scores.mean_dice_shown)}</strong> over the scans that show a class,
<strong>{score(scores.mean_dice)}</strong> as nnU-Net counts, a false alarm as 0.</p>
<p>This demo made {settings.train + settings.test} phantom head CTs ({matrix} voxels of {spacing} mm, along z, y, x)
with epidural (EDH), intracerebral (ICH), intraventricular (IVH), subarachnoid (SAH) and subdural (SDH) haemorrhage,
all five in every scan, fresh, and of the largest third of their sizes, so that minutes are enough to learn them. It
trained the block-centre transformer of <code>nnunetv2_cfseg</code> for {settings.train_seconds:g} s on
{settings.train} of them (of which nnU-Net kept {VALIDATION_CASES} for its own validation), and let
<code>nnUNetv2_predict</code> segment the other {settings.test}, which training never saw, without test-time mirroring.
The seed was {settings.seed}.</p>
<p class="note">Phantoms are drawn by a program. The figures show that everything works; they say nothing about
patients, nor about what a long training reaches.</p>"""


def _classes(scores: Scores) -> str:
    head = ("class", "scans that show it", "Dice", "IoU", "false alarms, scans", "Dice, nnU-Net", "IoU, nnU-Net")
    mean = ("mean", "", score(scores.mean_dice_shown), "", "", score(scores.mean_dice), "")
    rows = [_class_row(row) for row in scores.classes]
    return f"""<h2>Dice and IoU of each class</h2>
{_table(head, rows, mean)}
<p>The first Dice and IoU are means over the unseen scans whose truth shows the class. Where neither truth nor
prediction shows a class, nnU-Net gives NaN and leaves the scan out of that class's mean ({ABSENT} in these tables).
Where only the prediction shows it, a false alarm, nnU-Net counts Dice and IoU as 0: its means, the last two columns,
include these. They are those of <code>summary.json</code>.</p>"""


def _class_row(row: ClassScore) -> tuple[str, ...]:
    return (
        f"{row.name} ({row.label})",
        str(row.shown),
        score(row.dice_shown),
        score(row.iou_shown),
        str(row.false_alarms),
        score(row.dice),
        score(row.iou),
    )


def _pictures(pictures: Sequence[Picture]) -> str:
    figures = "\n".join(_figure(picture) for picture in pictures)
    return f"""<h2>The best, the median and the worst scan</h2>
<p>By the mean Dice over the classes that a scan shows. Each row is a slice through the scan's largest lesion; pictures
are to scale, and the patient's right is on the left.</p>
{figures}"""


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    caption = f"{picture.title}: {picture.case.name}, mean Dice {score(picture.case.mean_dice_shown)}"
    return (
        f'<figure><div class="wide"><img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _cases(cases: Sequence[CaseScore]) -> str:
    rows = [
        (
            case.name,
            *(_case_dice(case, v) for v in CLASSES.values()),
            score(case.mean_dice_shown),
            score(case.mean_dice),
        )
        for case in cases
    ]
    return f"""<h2>Dice of each unseen scan</h2>
{_table(("scan", *CLASSES, "mean", "mean, nnU-Net"), rows)}
<p>{ABSENT}: neither truth nor prediction shows the class (NaN), left out of all means. {FALSE_ALARM}: a false alarm,
only the prediction shows it, be it in one voxel; left out of the first mean, 0 in the second.</p>"""


def _case_dice(case: CaseScore, label: int) -> str:
    return score(case.dice[label]) + (f" {FALSE_ALARM}" if label in case.false_alarms else "")


def _times(page: Page) -> str:
    rows = [
        (time.title + (f" (in {time.runs} runs)" if time.runs > 1 else ""), f"{time.seconds:.0f}")
        for time in page.times
    ]
    total = ("together", f"{sum(time.seconds for time in page.times):.0f}")
    return f"""<h2>Time, versions, seed</h2>
{_table(("step", "seconds"), rows, total)}
<p>Training ends with nnU-Net's own validation of {VALIDATION_CASES} scans, each predicted twice, once mirrored.</p>
{_table(("", "version"), [*page.versions.items(), ("seed", str(page.settings.seed))])}"""


def _commands(commands: str) -> str:
    return f"""<h2>The commands</h2>
<p>These ran, in the demo's folder; they are in <code>commands.sh</code> too. A click selects all of them.</p>
<pre tabindex="0">{escape(commands)}</pre>
<h2>The same on your own data</h2>
<p>Put your dataset into <a href="{DATASET_FORMAT}">nnU-Net's raw layout</a>, for instance as
<code>nnUNet_raw/Dataset501_Mine</code>. Then run the commands above without step 1, which makes phantoms and keeps only
{VALIDATION_CASES} validation cases (nnU-Net makes five folds by itself), and with <code>501</code> for
<code>{DATASET_ID}</code> and <code>Dataset501_Mine</code> for <code>{DATASET}</code>. Give the training more time:
<code>CFSEG_TIME_BUDGET_S</code> is in seconds. On a GPU leave out <code>-device cpu</code> and
<code>-gpu_memory_target 1</code>, and train with <code>-tr nnUNetTrainerCFSeg</code>, nnU-Net's 1000 epochs; predict
with the same trainer. Evaluation needs the truth of the unseen scans in <code>labelsTs</code>. Without
<code>--disable_tta</code> prediction averages over mirrored scans and takes twice as long.</p>"""


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], foot: Sequence[str] = ()) -> str:
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(_row(row) for row in rows)
    last = f"<tfoot>{_row(foot)}</tfoot>" if foot else ""
    return f'<div class="wide"><table><thead><tr>{header}</tr></thead><tbody>\n{body}\n</tbody>{last}</table></div>'


def _row(cells: Sequence[str]) -> str:
    values = "".join(f"<td>{escape(cell)}</td>" for cell in cells[1:])
    return f'<tr><th scope="row">{escape(cells[0])}</th>{values}</tr>'
