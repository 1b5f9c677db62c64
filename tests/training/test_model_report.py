import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from contract.events import Event
from contract.gate import Outcome
from tests.training import reports
from tests.training.pages import Page
from tests.training.reports import FIRST, SECRET, SETTINGS, material_of
from tests.training.shops import DAY, START, Row, interactions
from training.bootstrap import Interval, mean_interval, paired_difference
from training.explanation import Cause, ExplainedItem, ExplainedUser, FeatureShare
from training.judged import BANDS, PROTOCOLS, UNHEARD_OF, Evaluation, Judged, Rows, Shown, TrueItems
from training.model_report.comparison import COLUMNS, LENGTHS, compare
from training.model_report.examples import ago, examples
from training.model_report.material import Material
from training.model_report.popularity import exposure
from training.model_report.ranker import FEATURES_TOLD, OTHERS, ranker_choice
from training.model_report.report import report_page
from training.model_report.slices import by_category, by_history, by_item_age
from training.model_report.verdict import Evidence, Summary, summary
from training.model_report.words import feature_told
from training.ranking_metrics import DEPTH, row_values
from training.settings import Hyperparameters
from training.verdict import Verdict

SECTIONS = [
    "verdict",
    "quality",
    "champion",
    "slices",
    "coverage",
    "sources",
    "ranker",
    "events",
    "data",
    "examples",
    "run",
]


@pytest.fixture(scope="session")
def shop() -> Material:
    return reports.shop_material()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """One user, one moment: nothing can be held out, learnt, or compared with."""
    rows: list[Row] = [(SECRET, "i1", "view", 0), (SECRET, "i2", "purchase", 5)]
    return material_of(interactions(rows), tmp_path_factory.mktemp("tiny"), FIRST)


@pytest.fixture(scope="session")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """One user who buys again and again: there is something to judge by, and nothing to draw."""
    rows: list[Row] = [
        (SECRET, f"i{day % 5}", "purchase" if day % 3 == 0 else "view", day * DAY) for day in range(30)
    ]
    return material_of(interactions(rows), tmp_path_factory.mktemp("lonely"), FIRST)


@pytest.fixture(scope="session")
def shop_page() -> str:
    return reports.shop_page()


@pytest.fixture(scope="session")
def hostile_page() -> str:
    return reports.hostile_page()


@pytest.fixture(scope="session")
def tiny_page(tiny: Material) -> str:
    return report_page(tiny)


@pytest.fixture(scope="session")
def lonely_page(lonely: Material) -> str:
    return report_page(lonely)


PAGES = ["shop_page", "hostile_page", "tiny_page", "lonely_page"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_needs_nothing_else(name: str, request: pytest.FixtureRequest) -> None:
    text: str = request.getfixturevalue(name)
    page = Page(text)
    assert len(text.encode()) < 5_000_000
    assert not {"script", "link", "iframe", "object", "embed", "img"} & set(page.tags)
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"url\((?!#)|@import", text)
    assert len(page.ids) == len(set(page.ids))
    # Every mark that a plot or a link refers to is one of its own.
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', text)) <= set(page.ids)
    assert page.tags.count("svg") == page.tags.count("figure")


@pytest.mark.parametrize("name", PAGES)
def test_all_sections_are_there_in_order_and_in_the_contents(
    name: str, request: pytest.FixtureRequest
) -> None:
    text: str = request.getfixturevalue(name)
    assert re.findall(r'<section id="([^"]+)">\n<h2>', text) == SECTIONS
    assert re.findall(r'<li><a href="#([^"]+)"', text[: text.index("</nav>")]) == SECTIONS


@pytest.mark.parametrize("name", PAGES)
def test_every_plot_has_words_and_a_table(name: str, request: pytest.FixtureRequest) -> None:
    text: str = request.getfixturevalue(name)
    for part in text.split("<figure")[1:]:
        assert re.match(r' role="img" aria-label="[^"]{10,}">', part)
        after = part[part.index("</figure>") + len("</figure>") :].lstrip()
        assert re.match(r'(<details><summary>[^<]+</summary>\s*)?<div class="wide"><table>', after)


@pytest.mark.parametrize("name", PAGES)
def test_no_user_is_named(name: str, request: pytest.FixtureRequest) -> None:
    assert SECRET not in request.getfixturevalue(name)


def test_the_search_for_users_would_find_one(shop: Material, tiny: Material) -> None:
    assert all(SECRET in user.user_id for user in shop.examples)
    named_item = replace(shop.examples[0].items[0], item_id=shop.examples[0].user_id)
    given_away = replace(tiny, examples=(replace(shop.examples[0], items=(named_item,)),))
    assert SECRET in report_page(given_away)


def test_the_same_material_gives_the_same_page(shop: Material, shop_page: str) -> None:
    assert report_page(shop) == shop_page


def test_what_came_with_the_events_is_only_text(hostile_page: str) -> None:
    text = hostile_page
    words = " ".join(Page(text).words)
    assert "<script" not in text
    assert "<script>alert(1)</script>" in words
    assert not re.search(r"<[^>]*evil\.example", text)
    assert "evil.example" in words
    assert "{{ 7*7 }}" in words
    assert "购买" in words
    assert "<b>wish" in words
    for invisible in "\x1b\x07\u202e\u2028":
        assert invisible not in text
    assert "\\x07" in words
    assert "x" * 61 not in text


def cells(text: str, caption: str, row: str) -> list[str]:
    """The cells of a row of the first table with that caption."""
    table = text[text.index(f"<caption>{caption}") :]
    table = table[: table.index("</table>")]
    found = re.search(rf'<th scope="row"[^>]*>{re.escape(row)}</th>(.*?)</tr>', table, re.DOTALL)
    assert found, (caption, row)
    return re.findall(r"<td[^>]*>(.*?)</td>", found[1])


def estimate(interval: Interval) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f}–{interval.high:.4f})"


def change(interval: Interval) -> str:
    figures = (f"{each:+.4f}".replace("-", "−") for each in (interval.value, interval.low, interval.high))
    return "{} ({} to {})".format(*figures)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_figures_at_ten_are_the_evaluation_s(shop: Material, shop_page: str, protocol: str) -> None:
    judged = shop.evaluation.judged[protocol]
    title = {"session": "<h3>On a shop page</h3>", "batch": "<h3>In a mailing</h3>"}[protocol]
    part = shop_page[shop_page.index('<section id="quality">') :]
    part = part[part.index(title) :]
    for metric in ("precision@10", "recall@10", "ndcg@10", "map@10", "hit_rate@10"):
        expected = [estimate(each.rows.intervals(SETTINGS.seed)[metric]) for each in judged.values()]
        assert cells(part, "At ten, with 95 % intervals", metric) == expected
        ours = judged["served"].rows
        gaps = [
            change(paired_difference(ours.values[metric], judged[other].rows.values[metric], ours.users))
            for other in ("popular", "item_item")
        ]
        assert cells(part, "The new version less the others", metric) == gaps
    discovery = [estimate(each.discovery.intervals(SETTINGS.seed)["recall@10"]) for each in judged.values()]
    assert cells(part, "At ten, with 95 % intervals", "discovery_recall@10") == discovery
    assert re.search(rf"Judged by {len(set(ours.users.tolist())):,} users", part)


def test_figures_by_length_are_the_evaluation_s(shop: Material, shop_page: str) -> None:
    judged = shop.evaluation.judged["session"]
    for k in (1, 7, 20):
        shown = cells(shop_page, "Recall: ", str(k))
        for model, cell in zip(("served", "popular", "item_item"), shown, strict=True):
            value = np.mean(judged[model].rows.values_at(k)[f"recall@{k}"])
            assert cell.startswith(f"{value:.4f} (")


def test_the_gate_s_own_comparison_is_the_page_s(shop: Material, shop_page: str) -> None:
    assert shop.since_cut_off is not None
    assert all(each.challenger > 0 and each.other > 0 for each in shop.gate.recipe.against_served)
    part = shop_page[shop_page.index('<section id="champion">') :]
    for title, protocol in (("On a shop page", "session"), ("In a mailing", "batch")):
        of_protocol = part[part.index(f"<h3>{title}</h3>") :]
        for each in shop.gate.recipe.against_served:
            if each.protocol == protocol:
                shown = cells(of_protocol, "The new version&#39;s recipe less the others", each.metric)
                assert shown[0] == change(each.difference)
                both = cells(of_protocol, "At ten", each.metric)
                assert both[0].startswith(f"{each.challenger:.4f} (")
                assert both[1].startswith(f"{each.other:.4f} (")


def test_learnt_figures_are_on_the_page(shop: Material, shop_page: str) -> None:
    for name, shares in shop.learnt["sources"].items():
        columns = ("found", "found_alone", "shown", "shown_alone")
        shown = cells(shop_page, "Candidate sources", name)
        assert shown[1:] == [f"{shares[column]:.2%}" for column in columns]
    for name, weight in shop.learnt["event_weights"].items():
        assert cells(shop_page, "Learned weights of events", name) == [f"{weight:.4f}"]
    curves = shop.learnt["ranking"]["curves"]
    assert len(curves["unseen"]) == SETTINGS.ranker_iterations
    assert cells(shop_page, "Logistic loss", "30") == [
        f"{curves['learnt'][-1]:.5f}",
        f"{curves['unseen'][-1]:.5f}",
    ]
    for name, value in shop.counts.items():
        assert f"{value:,} " + {"users": "users with", "items": "items,", "events": "events of"}[name] in (
            shop_page
        )


def test_settings_that_were_changed_stand_by_themselves(shop_page: str) -> None:
    table = shop_page[shop_page.index("Settings that differ") :]
    table = table[: table.index("</table>")]
    changed = re.findall(r'<th scope="row"><code>(\w+)</code>', table)
    assert set(changed) == {
        name for name, value in SETTINGS if value != Hyperparameters.model_fields[name].default
    }
    everything = shop_page[shop_page.index("<summary>All settings") :]
    assert set(Hyperparameters.model_fields) <= set(re.findall(r"<code>(\w+)</code>", everything))


def test_categories_beyond_the_largest_are_summed_up(shop: Material) -> None:
    slicing = by_category(shop.evaluation, shop.category_of, seed=0)
    assert len(slicing.names) == 17  # 15 and two sums
    assert slicing.names[-2:] == ("all others", "without a category")
    true_items = shop.evaluation.judged["session"]["served"].true_items
    slices = slicing.by_protocol["session"]
    assert sum(each.n for each in slices) == len(true_items.item_ids)
    counts = [each.n for each in slices[:15]]
    assert counts == sorted(counts, reverse=True)


def test_slices_are_means_of_their_rows(shop: Material) -> None:
    judged = shop.evaluation.judged["session"]["served"]
    rows, found = judged.rows, judged.true_items
    history = {each.name: each for each in by_history(shop.evaluation, 0).by_protocol["session"]}
    few = (rows.history >= 1) & (rows.history <= 3)
    assert history["1 to 3 events"].n == few.sum()
    assert history["1 to 3 events"].ours == mean_interval(rows.values["recall@10"][few], rows.users[few])
    assert history["known visitors (1 event or more)"].n == (rows.history > 0).sum()
    ages = {each.name: each for each in by_item_age(shop.evaluation, 0).by_protocol["session"]}
    old = found.days_known >= 14
    in_ten = (found.ranks[old] >= 1) & (found.ranks[old] <= 10)
    assert ages["known for longer"].n == old.sum()
    assert ages["known for longer"].ours.value == pytest.approx(in_ten.mean())
    assert sum(each.n for each in ages.values()) == len(found.item_ids)


# Odd runs


def test_a_run_without_anything_to_judge_by_says_so(tiny: Material, tiny_page: str) -> None:
    assert tiny.windows == ()
    assert "There was nothing to judge the new version by: the events span too little time" in tiny_page
    assert "Nothing could be judged" in tiny_page
    assert "There was nothing to compare with: no version is live yet." in tiny_page
    assert "There is none: trees were not tried, and the prior ranker" in tiny_page
    assert "The latest days could not be profiled." in tiny_page


def test_windows_in_which_nobody_bought_are_told_apart_from_no_windows(
    shop: Material, tiny: Material
) -> None:
    nobody = Evaluation(
        {
            protocol: {name: empty_judged() for name in ("served", "popular", "item_item")}
            for protocol in PROTOCOLS
        }
    )
    page = report_page(replace(tiny, evaluation=nobody, windows=shop.windows))
    assert "nobody carted or bought within the days held out" in page
    assert re.findall(r'<section id="([^"]+)">', page) == SECTIONS


def test_one_user_alone_is_no_certainty(lonely: Material, lonely_page: str) -> None:
    assert len(lonely.windows) == 2
    assert "of one user alone: nothing tells how sure that is" in lonely_page
    assert "1 user can&#39;t tell whether it is better than showing everybody what is popular." in lonely_page
    assert "chance alone doesn&#39;t explain" not in lonely_page
    assert "(one user)" in lonely_page
    assert "There is no catalogue, so nothing can be told by category." in lonely_page


def test_a_recipe_that_was_turned_away_is_told_of_the_latest_window(shop: Material, tiny: Material) -> None:
    verdict = Verdict(Outcome.REJECTED, "it is worse than popularity: by far")
    gate = replace(shop.gate, verdict=verdict, lists=None)
    away = replace(tiny, gate=gate, windows=shop.windows, is_release=False)
    page = report_page(away)
    assert "The new version is turned away; the version that is live stays." in page
    assert "the version is rejected, because it is worse than popularity: by far." in page
    assert page.count("Of the latest days held out: the gate turned the recipe away") == 4


def test_nothing_learnt_is_said_in_words(tiny: Material) -> None:
    page = report_page(replace(tiny, learnt={}, examples=(), is_release=False, seconds={}, identity={}))
    for words in ("No ranker was fitted.", "No weights of events were learned.", "No lists were made"):
        assert words in page


def test_a_served_version_that_was_not_compared_with_is_told_why(shop: Material, tiny: Material) -> None:
    few = replace(shop.gate.recipe, users=3, against_served=())
    page = report_page(replace(tiny, gate=replace(shop.gate, recipe=few)))
    assert "3 users carted or bought since its cut-off, 10 are needed" in page
    without = replace(shop.gate.recipe, events_before=0, against_served=())
    page = report_page(replace(tiny, gate=replace(shop.gate, recipe=without)))
    assert "there is no event before its cut-off to learn from" in page


# The verdict in words


def told(material: Material) -> Summary:
    return summary(material, Evidence({}, {}, (), (), None))


def with_outcome(material: Material, outcome: Outcome) -> Material:
    return replace(material, gate=replace(material.gate, verdict=Verdict(outcome, "because")))


def with_gap(material: Material, low: float) -> Material:
    """The recipe surely better than the served version where `low` is above 0."""
    recipe = material.gate.recipe
    first = replace(recipe.against_served[0], difference=Interval(low + 0.05, low, low + 0.1))
    verdict = Verdict(Outcome.PROMOTED, "because")
    gate = replace(material.gate, verdict=verdict, recipe=replace(recipe, against_served=(first,)))
    return replace(material, gate=gate)


def test_each_outcome_has_its_headline(shop: Material, tiny: Material) -> None:
    assert told(with_outcome(shop, Outcome.KEPT)).headline.startswith("The version that is live stays.")
    assert told(with_outcome(shop, Outcome.REJECTED)).headline.endswith("the version that is live stays.")
    assert told(with_outcome(tiny, Outcome.REJECTED)).headline.endswith("nothing goes live.")
    assert told(tiny).headline == "The new version goes live. It is the first."
    assert told(with_gap(shop, 0.01)).headline.endswith("It is better than the one that it replaces.")
    assert told(with_gap(shop, -0.05)).headline.endswith(
        "It isn't clearly worse than the one that it replaces."
    )
    recipe = replace(shop.gate.recipe, users=1)
    untold = replace(with_gap(shop, 0.01), gate=replace(with_gap(shop, 0.01).gate, recipe=recipe))
    assert "without having been compared" in told(untold).headline


def judged(hits: Sequence[int], *, history: Sequence[int] | None = None) -> Judged:
    """One user a value; whether the first of the list was right."""
    n = len(hits)
    matrix = np.zeros((n, DEPTH), dtype=np.bool_)
    matrix[:, 0] = np.array(hits, dtype=np.bool_)
    truths = np.ones(n, dtype=np.int64)
    rows = Rows(
        users=np.arange(n),
        windows=np.zeros(n, dtype=np.int64),
        history=np.array(history if history is not None else np.ones(n), dtype=np.int64),
        hits=matrix,
        truths=truths,
        values=row_values(matrix, truths),
    )
    found = TrueItems(
        rows=np.arange(n),
        item_ids=np.array([f"i{number % 2}" for number in range(n)], dtype=object),
        ranks=np.array(hits, dtype=np.int64),
        days_known=np.full(n, 30.0),
    )
    best, *_, rest = BANDS
    shown = Shown({"own": n}, {"own": sum(hits)}, {best: 9 * n, rest: n}, {best: n, UNHEARD_OF: n})
    return Judged(rows, rows.where(np.zeros(n, dtype=np.bool_)), 0.5, 3.0, found, shown)


def empty_judged() -> Judged:
    empty = judged([1])
    nothing = np.zeros(0, dtype=np.int64)
    none_found = TrueItems(nothing, np.empty(0, dtype=object), nothing, np.empty(0))
    rows = empty.rows.where(np.zeros(1, dtype=np.bool_))
    return replace(empty, rows=rows, true_items=none_found, shown=Shown({}, {}, {}, {}))


def test_a_group_for_which_popularity_surely_does_better_is_pointed_at(
    shop: Material, tiny: Material
) -> None:
    history = [0] * 100 + [5] * 100
    ours = judged([0] * 100 + [1] * 100, history=history)
    popular = judged([1] * 60 + [0] * 40 + [0] * 100, history=history)
    bad = Evaluation({"batch": {}, "session": {"served": ours, "popular": popular}})
    page = report_page(replace(tiny, evaluation=bad, windows=shop.windows))
    hints = page[page.index("What to look at") : page.index("The gate, in its own words")]
    assert "what is popular does better for unknown visitors (0 events)." in hints
    assert 'href="#slices"' in hints
    assert "4 to 10 events" not in hints
    assert '<tr class="worse">' in page


def test_a_handful_of_users_is_surely_nothing(tiny: Material) -> None:
    for n, is_told in ((19, False), (20, True)):
        worse = {"served": judged([0] * n), "popular": judged([1] * n)}
        slicing = by_history(Evaluation({"batch": {}, "session": worse}), 0)
        assert [each.is_surely_worse for each in slicing.by_protocol["session"]] == [is_told, is_told]
        found = compare("session", worse, ours="served", plotted=(), against=("popular",), seed=0)
        assert found is not None
        said = summary(tiny, Evidence({"session": found}, {}, (), (), None))
        sure = (
            "It is worse than showing everybody what is popular: chance alone doesn't explain the difference."
        )
        assert (sure in said.sureness) is is_told
        assert any("finds more than the new version" in hint.text for hint in said.look_at) is is_told


def test_what_is_said_of_popularity_follows_from_the_figures() -> None:
    found = exposure("session", {"served": judged([1, 0])})
    assert found is not None
    assert found.is_narrow
    assert "make up 90.0% of what the new version shows, and 50.0% of what visitors carted" in found.in_words
    assert "favours the well-known more" in found.in_words
    even = judged([1, 0])
    even = replace(even, shown=replace(even.shown, by_band=even.shown.true_by_band))
    alike = exposure("session", {"served": even})
    assert alike is not None
    assert not alike.is_narrow
    assert "about as much room as visitors do" in alike.in_words


def test_curves_are_those_of_each_length() -> None:
    found = compare(
        "session",
        {"served": judged([1, 1, 0, 0])},
        ours="served",
        plotted=("served", "popular"),
        against=("popular",),
        seed=0,
    )
    assert found is not None
    assert [each.value for each in found.curves["recall"]["served"]] == [0.5] * len(LENGTHS)
    assert [each.value for each in found.curves["precision"]["served"]] == [
        pytest.approx(0.5 / k) for k in LENGTHS
    ]
    assert set(found.figures[0].intervals) == set(COLUMNS) - {"discovery_recall@10"}
    assert found.gaps == ()


# Parts


def test_the_least_important_features_are_summed_up() -> None:
    importance = {f"f{number}": float(number) for number in range(25)}
    ranking = {"ranker": "linear", "reason": "r", "ndcg@10": {}, "curves": {}, "importance": importance}
    choice = ranker_choice({"ranking": ranking})
    assert choice is not None
    assert len(choice.importance) == FEATURES_TOLD + 1
    assert choice.importance[OTHERS] == sum(range(5))
    assert not choice.is_overfitted


def test_too_many_trees_are_pointed_out(shop: Material, tiny: Material) -> None:
    ranking = dict(shop.learnt["ranking"])
    ranking["curves"] = {"learnt": [0.5, 0.4, 0.3], "unseen": [0.5, 0.45, 0.6]}
    page = report_page(replace(tiny, learnt={"ranking": ranking}))
    assert "The ranker did best on unseen examples after 2 of 3 trees: fewer may serve better." in page


def test_every_feature_of_a_real_run_is_told_in_words(shop: Material) -> None:
    names = shop.learnt["ranking"]["importance"]
    assert len(names) > 30
    assert [name for name in names if feature_told(name) == name] == []
    assert feature_told("pair_favourite") == "how often they did “favourite” to the item"
    assert feature_told("weather") == "weather"


@pytest.mark.parametrize(
    ("elapsed", "words"),
    [
        (0, "just before"),
        (59_999, "just before"),
        (60_000, "1 minute ago"),
        (2 * 3_600_000 + 5, "2 hours ago"),
        (DAY, "1 day ago"),
        (1200 * DAY, "1,200 days ago"),
        (-5, "just before"),
    ],
)
def test_a_moment_is_told_by_how_long_ago_it_was(elapsed: int, words: str) -> None:
    assert ago(START - elapsed, START) == words


def test_an_item_is_explained_by_what_the_visitor_did_first(tiny: Material) -> None:
    viewed = Event("i1", "view", tiny.gate.recipe.as_of - 3 * DAY)
    user = ExplainedUser(
        user_id=SECRET,
        history=(viewed,) * 12,
        items=(
            ExplainedItem(
                "i1",
                {"als": 4, "own": 1},
                (FeatureShare("pair_view", 1.0, -0.5),),
                (Cause(viewed, "same_item", 1.0),),
            ),
            ExplainedItem("i2", {"similar": 2}, (), (Cause(viewed, "similar_item", 0.4),)),
            ExplainedItem("i3", {"category": 2}, (), (Cause(viewed, "same_category", 1.0),)),
            ExplainedItem("i4", {}, (), ()),
        ),
    )
    (example,) = examples([user], now=tiny.gate.recipe.as_of, category_of={"i1": "shoes"})
    assert list(example.items[0].sources) == ["own", "als"]
    assert example.more_deeds == 4
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", report_page(replace(tiny, examples=(user,)))))
    for expected in (
        "i1: viewed it 3 days ago",
        "people who turn to i1 (viewed 3 days ago) also turn to it",
        "it is of the same category as i1 (viewed 3 days ago)",
        "what everybody is shown",
        "Proposed by own (place 1), als (place 4).",
        "how often they did “view” to the item (−0.50)",
        "and 4 more before",
    ):
        assert expected in words
