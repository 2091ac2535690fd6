"""One page that says what was run and how it went, built from run folders alone."""

import json
from collections.abc import Sequence
from pathlib import Path

import gin
import markupsafe
from absl import logging

from silot_tf.errors import UserError
from silot_tf.files import write_together
from silot_tf.reporting import pages, summary, tables
from silot_tf.reporting.aggregation import Curve, as_json, baseline_curves, model_curves
from silot_tf.reporting.claims import VERDICTS, Judgement, judge
from silot_tf.reporting.comparison import comparison_section, notices
from silot_tf.reporting.explore import PAGE, explore_page
from silot_tf.reporting.further import further_sections
from silot_tf.reporting.prior import prior_section
from silot_tf.reporting.published import read_targets
from silot_tf.reporting.published_tables import published_table
from silot_tf.reporting.runs import Run, group_runs, read_run
from silot_tf.reporting.sections import (
    Gallery,
    clip_section,
    condition_section,
    progress_section,
    training_section,
)
from silot_tf.reporting.training_figures import HEADINGS
from silot_tf.reporting.videos import ClipStyle

VERDICT_WORDS = {
    "yes": "yes",
    "no": "no",
    "not measured": "not measured",
    "shown": "no verdict",
    "look": "see clips",
}


@gin.configurable(module="reporting")
class Report:
    """Writes `index.html` and `explore.html` (self-contained), `metrics.json`, and every plot and clip as a file.

    Args:
      title: heading of the page; "" takes the model's name.
      model_name: name of the model for readers; None takes `model` of run.json, of all runs.
      summary: a sentence or two on what the experiment is.
      citation: the paper, as text.
      citation_url: address of the paper, printed as a plain link.
      reduced_note: what makes this smaller than the published experiment; "" for a full run.
      remarks: further sentences for the head of the page.
      targets: names of files in `reporting/targets` (or paths of CSV files) with published claims.
      published_table: name of a table in `reporting/targets` (or path of a CSV file), printed with our numbers;
        None for none.
      experiments: keep only claims of these experiments; None keeps all.
      goals: metric -> value that this configuration should reach over all conditions.
      labels: experiment or baseline -> name to print.
      metrics: metrics to plot against the condition (posterior, and prior roll-out where measured).
      headline: metrics of the boxes at the top.
      presence_threshold: objects with more presence than this are drawn in clips.
      rollout_from: first frame that roll-outs do not look at, for example files that do not say.
      show_truth: draw annotated boxes as thin white lines over the input.
      max_clips: clips per training condition, and per further test of it.
      max_training_clips: clips shown over training.
      max_explored_clips: clips to explore per training condition, and per further test of it.
      clip_size: width of a clip's panel in pixels.
      frames_per_second: speed of clips.
    """

    def __init__(
        self,
        title="",
        model_name=None,
        summary="",
        citation="",
        citation_url="",
        reduced_note="",
        remarks=(),
        targets=(),
        published_table=None,
        experiments=None,
        goals=None,
        labels=None,
        metrics=("mota", "ap", "count_error"),
        headline=("ap", "ap_50", "mota", "count_error", "rollout_mota"),
        presence_threshold=0.5,
        rollout_from=None,
        show_truth=True,
        max_clips=6,
        max_training_clips=1,
        max_explored_clips=12,
        clip_size=288,
        frames_per_second=3.0,
    ):
        counts = (max_clips, max_training_clips, max_explored_clips)
        if clip_size < 16 or frames_per_second <= 0 or min(counts) < 0:
            raise UserError(
                "reporting.Report needs clip_size >= 16, frames_per_second > 0 and counts of clips >= 0, "
                f"found {clip_size}, {frames_per_second}, {counts}; bind others"
            )
        if citation_url and not citation_url.startswith(("https://", "http://")):
            raise UserError(f"reporting.Report.citation_url is {citation_url!r}, expected an https:// address")
        self.title = title
        self.model_name = model_name
        self.summary = summary
        self.citation = citation
        self.citation_url = citation_url
        self.reduced_note = reduced_note
        self.remarks = tuple(remarks)
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)
        self.published_table = published_table
        self.experiments = experiments
        self.goals = dict(goals or {})
        self.labels = dict(labels or {})
        self.metrics = tuple(metrics)
        self.headline = tuple(headline)
        self.max_clips = max_clips
        self.max_training_clips = max_training_clips
        self.max_explored_clips = max_explored_clips
        self.clip_style = ClipStyle(clip_size, presence_threshold, show_truth, frames_per_second, rollout_from)

    def write(self, run_dirs: Sequence[Path | str] | Path | str, out_dir: Path | str | None = None) -> Path:
        """Path of the page.

        Args:
          run_dirs: run folders. Those with the same `experiment` in run.json are seeds of one training
            condition; several experiments become several curves.
          out_dir: folder for the report; None takes `report/` in the first run folder.

        Raises:
          UserError: for a folder that is no run folder, damaged files, unknown targets, or a folder that
            cannot be written; an earlier page is then left as it was.
        """
        folders = [run_dirs] if isinstance(run_dirs, str | Path) else list(run_dirs)
        if not folders:
            raise UserError("the report got no run folder, expected at least one; name one with --run_dir")
        runs = [read_run(Path(folder)) for folder in folders]
        out = Path(out_dir) if out_dir is not None else runs[0].folder / "report"
        gallery = Gallery()
        context, record = self._content(runs, gallery)
        explore, explored = explore_page(
            self._shown_groups(runs),
            title=context["title"],
            labels=self.labels,
            count=self.max_explored_clips,
            style=self.clip_style,
        )
        style = markupsafe.Markup(pages.template_text("report.css"))
        page = pages.render("report.html", style=style, explored=explored, **context)
        # The page comes last: whoever finds it finds everything it was made with.
        record = json.dumps(record, indent=1, allow_nan=False)
        write_together(out, gallery.files | {"metrics.json": record, PAGE: explore, "index.html": page})
        logging.info("report: %s (%.1f MB)", out / "index.html", len(page) / 1e6)
        return out / "index.html"

    def _model_name(self, runs: list[Run]) -> str:
        names = dict.fromkeys(str(run.info["model"]) for run in runs if run.info.get("model"))
        return self.model_name or tables.listing(list(names)) or "the model"

    def _shown_groups(self, runs: list[Run]) -> dict[str, list[Run]]:
        """Name to print -> runs that are seeds of one training condition."""
        groups, model_name = group_runs(runs), self._model_name(runs)
        return {
            self.labels.get(name) or (model_name if len(groups) == 1 or not name else name): members
            for name, members in groups.items()
        }

    def _content(self, runs: list[Run], gallery: Gallery) -> tuple[dict, dict]:
        """Everything the page prints, and the contents of metrics.json."""
        groups = group_runs(runs)
        model_name = self._model_name(runs)
        shown_groups = self._shown_groups(runs)
        curves = [*model_curves(groups, self.labels, model_name), *baseline_curves(runs, self.labels)]
        conditions: dict[str, float] = {}
        for curve in curves:
            conditions.update(curve.conditions)
        results = next((run.results for run in runs if run.results), {})
        condition_label = str(results.get("condition_label", ""))
        protocol = {str(k): str(v) for k, v in (results.get("protocol") or {}).items()}
        judgements = [judge(t, curves, conditions) for t in read_targets(self.targets, self.experiments)]
        clips = clip_section(gallery, shown_groups, self.max_clips, self.clip_style)
        training = training_section(gallery, shown_groups)
        further, further_record = further_sections(gallery, shown_groups, self.labels, self.max_clips, self.clip_style)
        context = {
            "title": self.title or model_name[:1].upper() + model_name[1:],
            "model_name": model_name,
            "summary": self.summary,
            "citation": self.citation,
            "citation_url": self.citation_url,
            "reduced_note": self.reduced_note,
            "remarks": self.remarks,
            "opening": summary.opening(runs, groups, model_name),
            "outcome": summary.outcome(curves, condition_label),
            "tiles": summary.tiles(curves, self.headline, self.goals),
            "notes": [*summary.notices(runs, bool(clips), self.max_clips > 0), *notices(runs, shown_groups)],
            "claims": [_claim_row(j) for j in sorted(judgements, key=lambda j: VERDICTS.index(j.verdict))],
            "claim_counts": [(word, sum(j.verdict == word for j in judgements)) for word in VERDICTS],
            "table": published_table(self.published_table, curves, protocol),
            "compute": summary.compute(runs),
            "comparison": comparison_section(gallery, curves, self.metrics, condition_label),
            "plots": condition_section(gallery, curves, self.metrics, condition_label),
            "metric_tables": [
                (title, table)
                for title, prefix in (("Posterior", ""), ("Prior roll-out", "rollout_"))
                if (table := tables.metric_table(curves, prefix))
            ],
            "pooled": tables.pooled_table(curves),
            "protocol": tables.protocol_rows(protocol),
            "condition_label": condition_label,
            "num_runs": len(runs),
            "spread_over": max((curve.runs for curve in curves if not curve.is_baseline), default=0),
            "clips": clips,
            "prior": prior_section(gallery, shown_groups, self.clip_style),
            "further": further,
            "progress": progress_section(gallery, runs, self.max_training_clips, self.clip_style),
            "training": training,
            "training_sections": HEADINGS,
            "facts": summary.facts(runs),
            "commands": list(dict.fromkeys(run.command for run in runs if run.command)),
            "configs": _configs(runs),
        }
        record = _record(runs, curves, conditions, condition_label, judgements, protocol)
        return context, record | {"further_tests": further_record}


def _claim_row(judgement: Judgement) -> dict:
    target = judgement.target
    return {
        "experiment": target.experiment,
        "claim": target.claim,
        "metric": tables.describe(target.metric).label,
        "condition": target.condition,
        "published": target.published,
        "source": target.source,
        "ours": judgement.ours,
        "verdict": judgement.verdict,
        "verdict_word": VERDICT_WORDS[judgement.verdict],
        "reason": judgement.reason,
        "protocol": target.protocol,
        "compute": target.compute,
    }


def _record(
    runs: Sequence[Run],
    curves: Sequence[Curve],
    conditions: dict,
    condition_label: str,
    judgements,
    protocol: dict,
) -> dict:
    """Contents of metrics.json: everything the page says in numbers, for programs."""
    return {
        "runs": [
            {
                "folder": run.folder.name,
                "seed": run.info.get("seed"),
                "experiment": run.info.get("experiment"),
                "updates": run.updates,
                "hours": run.hours,
            }
            for run in runs
        ],
        "conditions": conditions,
        "condition_label": condition_label,
        "curves": [as_json(curve) for curve in curves],
        "claims": [
            {
                "experiment": j.target.experiment,
                "claim": j.target.claim,
                "metric": j.target.metric,
                "condition": j.target.condition,
                "published": j.target.published,
                "source": j.target.source,
                "ours": j.ours,
                "verdict": j.verdict,
                "reason": j.reason,
            }
            for j in judgements
        ],
        "protocol": protocol,
        "spread": "standard deviation over runs, divisor n",
    }


def _configs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(heading, text) of configurations; the same text of several runs appears once."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for kind, text in (
            ("Full configuration", run.config),
            ("Operative configuration", run.operative_config),
        ):
            if text.strip():
                found.setdefault((kind, text), []).append(run.folder.name)
        if run.info:
            text = json.dumps(run.info, indent=1, default=str, ensure_ascii=False)
            found.setdefault(("run.json", text), []).append(run.folder.name)
    order = {"Full configuration": 0, "Operative configuration": 1, "run.json": 2}
    items = sorted(found.items(), key=lambda item: order[item[0][0]])
    return [(f"{kind} ({tables.listing(names)})", text) for (kind, text), names in items]
