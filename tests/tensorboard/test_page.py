"""The page in a real browser, inside a real TensorBoard: what a person sees and does there."""

import contextlib
import math
import shutil
import urllib.parse
import xml.etree.ElementTree

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from gb_keras.tensorboard import metadata
from tests.tensorboard import browser
from tests.tensorboard.conftest import NAMES, Board, rewrite, train, write_malformed

pytestmark = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.CHROMEDRIVER),
    reason="Expected a browser on the PATH: apt-get install chromium chromium-driver",
)
MANY = 'many "><script>alert(1)<' + "/script>"
VIEWS = ("overview", "classes", "compare", "health")


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory):
    with browser.start(tmp_path_factory.mktemp("downloads")) as page:
        yield page


@pytest.fixture
def page(one_browser):
    """The browser for one test, which must leave nothing in the console."""
    one_browser.set_up(1440, 1000)
    yield one_browser
    assert one_browser.console() == []


@pytest.fixture(scope="module")
def board(logs):
    with Board(logs, "true") as board:
        board.wait_for(3)
        yield board


@pytest.fixture(scope="module")
def sizes(logs, tmp_path_factory):
    """Boards with 1 run or 20 runs, of 10 or 1,000 classes, by these numbers."""
    folder = tmp_path_factory.mktemp("sizes")
    train(folder / "one" / "run", num_classes=10, epochs=2)
    for index in range(19):
        name = f"sweep/learning_rate_0.001/density_exponent_{index / 20}/seed_{index}"
        shutil.copytree(folder / "one" / "run", folder / "twenty" / name)
    shutil.copytree(logs / MANY, folder / "twenty" / "wide")
    folders = {(1, 10): folder / "one", (1, 1000): logs / MANY, (20, 10): folder / "twenty"}
    with contextlib.ExitStack() as stack:
        boards = {size: stack.enter_context(Board(folders[size], "true")) for size in folders}
        for (num_runs, _), board in boards.items():
            board.wait_for(num_runs)
        yield {**boards, (20, 1000): boards[20, 10]}


def test_every_view_is_drawn(page, board):
    page.open(board, run="balanced")
    for view, num_charts in (("overview", 4), ("classes", 1), ("compare", 3), ("health", 0)):
        page.show(view)
        shown = [panel for panel in page.all("[role=tabpanel]") if panel.is_displayed()]
        assert [panel.get_attribute("id") for panel in shown] == [f"panel-{view}"]
        assert page.get(f"tab-{view}", "aria-selected") == "true"
        assert len(page.all(f"#panel-{view} .js-plotly-plot")) == num_charts
    assert len(page.all(".finding")) >= 6
    page.find("tab-health").send_keys(Keys.ARROW_RIGHT)
    page.ready("overview")


def test_messages_of_the_console_are_seen(page, board):
    page.open(board)
    page.run("""console.error("one"); const script = document.createElement("script");
        script.textContent = "void 0"; document.body.append(script)""")
    error, violation = page.console()
    assert "one" in error
    assert "Content Security Policy" in violation


def test_steps(page, board):
    page.open(board, run="balanced")
    last = page.text("sentence")
    page.press("step-slider", Keys.HOME)
    assert page.text("step-value") == "12 of 48"
    assert page.text("sentence") != last
    assert page.plot("density-chart", "layout.shapes[0].x0") == 12
    page.press("step-slider", Keys.ARROW_RIGHT)
    assert page.text("step-value") == "24 of 48"
    page.press("step-slider", Keys.END)
    assert (page.text("step-value"), page.text("sentence")) == ("48 last", last)
    page.choose("run-select", "noise")
    assert page.get("step-slider", "max") == page.get("step-slider") == "11"
    page.find("play").click()
    page.until(lambda: 2 <= int(page.get("step-slider")) < 11)
    assert page.get("play", "aria-pressed") == "true"
    page.find("play").click()
    stopped = page.get("step-slider")
    with pytest.raises(TimeoutException):
        page.until(lambda: page.get("step-slider") != stopped, seconds=0.7)


def test_what_the_overview_shows(page, board):
    page.open(board, run="balanced")
    assert page.plot("density-chart", "layout.coloraxis.colorbar.ticktext.length") > 0
    page.choose("scale-select", "linear")
    assert page.plot("density-chart", "layout.coloraxis.colorbar.ticktext") is None
    assert page.plot("density-chart", "data.length") == 2
    page.choose("balance-mode", "difference")
    assert page.plot("density-chart", "data.length") == 1
    assert page.plot("density-chart", "layout.coloraxis.cmin") < 0
    page.click("profile-log")
    assert page.plot("profile-chart", "layout.yaxis.type") == "log"
    smooth = page.plot("loss-chart", "data[1].y")
    page.press("smoothing", Keys.HOME)
    assert page.plot("loss-chart", "data[0].y") != smooth
    page.choose("run-select", "noise")
    assert page.text("balance-mode") == "as it is (not balanced)"
    for chart in ("profile-chart", "loss-chart"):
        assert page.plot(chart, "layout.hovermode") == "x unified"
    # Of many classes: bands of all, and rows of those that are written.
    page.choose("run-select", MANY)
    [rows] = page.plot("class-chart", "data.filter((trace) => trace.type === 'heatmap')")
    assert len(rows["y"]) == 20
    names = page.plot("class-chart", "layout.yaxis2.ticktext")
    assert len(names) == 20
    assert all(name.startswith("species ") for name in names)
    assert "20 of 1,000 have rows" in page.text("class-chart")


def test_label_noise_is_told_and_weighted_down(page, tmp_path):
    train(tmp_path / "noise", noise=0.4, epochs=12, names=NAMES)
    with Board(tmp_path, "true") as board:
        board.wait_for(1)
        page.open(board)
        estimated = page.run(
            """const [term] = [...document.querySelectorAll(".facts dt")].filter(
                (term) => term.innerText === "Wrong labels, estimated");
            return term.nextSibling.innerText;"""
        )
        assert 15 < float(estimated.removesuffix("%")) < 50
        noise = page.plot("loss-chart", "data.find((trace) => trace.name === 'noise').y")
        assert f"{noise[-1]:.0%}"[:2] == estimated[:2]
        after = page.plot("profile-chart", "data.find((trace) => trace.name === 'after').y")
        before = page.plot("profile-chart", "data.find((trace) => trace.name === 'before').y")
        weights = page.plot("profile-chart", "data.find((trace) => trace.name === 'weight').y")
        # Of a crowd at norm 1 that density alone would leave at least a quarter.
        assert before[-1] > max(before[20:29])
        assert weights[-1] < 0.2
        assert after[-1] < before[-1] / 3
        # Shares of the classes, in each of which the wrong labels count less.
        shares = page.plot("class-chart", "data[0].customdata.map((row) => row.at(-1)[1])")
        page.choose("balance-mode", "after")
        assert "after balancing" in page.text("class-chart")
        counted = page.plot("class-chart", "data[0].customdata.map((row) => row.at(-1)[1])")
        assert all(now < share for now, share in zip(counted, shares, strict=True) if share > 0.02)
        page.show("health")
        assert "Estimated share of wrong labels: " in page.text("[data-kind=noise]")
        page.show("classes")
        page.click(".classes tbody tr")
        assert page.plot("class-density-chart", "data.length") == 2
        page.driver.get("about:blank")


def test_losses_none_of_which_is_finite_are_told(page, tmp_path):
    train(tmp_path / "lost", finite=False, names=NAMES)
    with Board(tmp_path, "true") as board:
        board.wait_for(1)
        page.open(board)
        assert page.plot("loss-chart", "data.map((trace) => trace.name)") == ["skipped", "noise"]
        assert "No loss was finite in any of these steps." in page.text("loss-chart")
        page.driver.get("about:blank")


def test_a_log_of_version_1(page, logs, tmp_path):
    def of_version_1(value, step):
        content = value.metadata.plugin_data.content
        value.metadata.plugin_data.content = content.replace(b'"version": 2', b'"version": 1')
        return value.tag.split("/")[-1] not in (*metadata.SINCE_VERSION_2, "noise_rate")

    rewrite(logs / "balanced", tmp_path, of_version_1)
    with Board(tmp_path, "true") as board:
        board.wait_for(1)
        page.open(board)
        assert not page.find("notices").is_displayed()
        assert "Wrong labels" not in page.text("#panel-overview")
        assert page.plot("density-chart", "data.length") == 2
        page.choose("balance-mode", "after")
        assert "after" not in page.text("class-chart")
        page.show("classes")
        page.click(".classes tbody tr")
        assert page.plot("class-density-chart", "data.length") == 1
        page.show("health")
        page.driver.get("about:blank")


def test_table_of_classes(page, board):
    page.open(board, "classes", run=MANY)
    assert page.text("classes-position") == "1-25 of 1,000 classes"
    first = page.column("class")
    page.click("classes-next")
    assert page.text("classes-position") == "26-50 of 1,000 classes"
    assert not set(first) & set(page.column("class"))
    page.click("classes-previous")
    assert page.column("class") == first
    page.choose("page-size", "100")
    assert page.text("classes-position") == "1-100 of 1,000 classes"
    for width in (1330, 1400):
        page.set_up(width, 1000)
        table = "const e = document.querySelector('.table-scroll'); return e."
        assert page.run(f"{table}scrollWidth") == page.run(f"{table}clientWidth")
    for order in ("descending", "ascending"):
        page.click("[data-column=mean_norm] button")
        assert page.get("[data-column=mean_norm]", "aria-sort") == order
        norms = [float(text) for text in page.column("mean_norm") if text != "\N{EN DASH}"]
        assert norms == sorted(norms, reverse=order == "descending")
    page.press("classes-search", "species 99")
    page.until(lambda: page.text("classes-position").startswith("1-11 of 11 found among"))
    page.press("classes-search", "x")
    page.until(lambda: "No class matches" in page.text("classes-table"))


def test_enter_on_a_row_opens_the_class(page, board):
    page.open(board, "classes", run="balanced")
    assert "Choose a class" in page.text("class-detail")
    first, second = page.all(".classes tbody tr")[:2]
    first.send_keys(Keys.ARROW_DOWN)
    assert page.driver.switch_to.active_element == second
    page.press(".classes tbody tr:focus", Keys.ENTER)
    index = page.get("[aria-current=true]", "data-class")
    assert index == second.get_attribute("data-class")
    assert page.text("class-detail").startswith(f"{NAMES[int(index)]}\nclass {index}")
    assert page.plot("class-density-chart", "data[0].x") == [12, 24, 36, 48]
    # The numbers are those of the table, at whichever step.
    page.show("overview")
    page.press("step-slider", Keys.HOME)
    page.show("classes")
    seen = page.column("count")[page.column("name").index(NAMES[int(index)])]
    assert f"At step\n12\nSamples seen\n{seen}\n" in page.text("class-detail")
    page.click("class-close")
    assert "Choose a class" in page.text("class-detail")


def test_ranking_and_groups(page, board):
    page.open(board, "classes", run="balanced")
    assert "since the start of training" in page.get("[data-column=count] button", "title")
    assert page.text("ranking-chart").startswith("Samples seen of all classes")
    heights = "data.flatMap((trace) => trace.y)"
    assert sum(page.plot("ranking-chart", heights)) == pytest.approx(4 * 600)
    page.click("ranking-log")
    assert page.plot("ranking-chart", "layout.yaxis.type") == "linear"
    page.choose("ranking-column", "mean_norm")
    assert page.text("ranking-chart").startswith("Mean norm of all classes")
    page.choose("ranking-order", "self")
    norms = page.plot("ranking-chart", "data.flatMap((t) => t.x.map((x, i) => [x, t.y[i]]))")
    assert [norm for _, norm in sorted(norms)] == sorted((norm for _, norm in norms), reverse=True)
    # Of 600 samples, 40% are of the first class: about 240 in an epoch.
    assert page.column("group")[0] == "many"
    assert "per epoch" in page.get("limit-many", "title")
    page.press("limit-many", Keys.CONTROL, "a", Keys.NULL, "300", Keys.TAB)
    assert page.column("group")[0] == "medium"
    page.press("limit-many", Keys.CONTROL, "a", Keys.NULL, "2.5", Keys.TAB)
    assert page.get("limit-many") == "300"
    # Most classes of this run have no sample: that leaves the scale as it is for the others.
    page.open(board, "classes", run=MANY)
    assert page.plot("ranking-chart", "layout.yaxis.type") == "log"
    assert "0 is not drawn" in page.plot("ranking-chart", "layout.yaxis.title.text")
    lowest = min(page.plot("ranking-chart", "data[0].y"))
    assert math.log10(lowest) == pytest.approx(page.plot("ranking-chart", "layout.yaxis.range[0]"))


def test_compare(page, board):
    def summary():
        return page.get("#compare-difference-chart-summary", "textContent")

    page.open(board, "compare")
    names = "data.map((trace) => trace.name.replaceAll('&lt;', '<').replaceAll('&gt;', '>'))"
    assert page.plot("compare-chart", names) == ["balanced", MANY, "noise"]
    before = page.plot("compare-chart", "data[0].z[0]")
    page.choose("compare-what", "after")
    assert page.plot("compare-chart", "data[0].z[0]") != before
    page.choose("compare-b", "noise")
    assert "where balanced has more of its samples than noise" in summary()
    assert "percentage points" in page.text("compare-difference-chart")
    page.choose("compare-a", "noise")
    assert "Choose two different runs" in summary()
    page.click(".runs li:nth-child(2) input")
    assert page.plot("compare-chart", names) == ["balanced", "noise"]
    page.press("compare-filter", "nois")
    assert [item.text for item in page.all(".runs li") if item.is_displayed()] == ["noise"]
    page.press("compare-filter", "x")
    assert "No run has this name." in page.text(".run-list")
    page.press("compare-filter", Keys.BACKSPACE)
    page.click(".run-tools button + button")
    assert "Choose runs on the left." in page.text("compare-chart")
    page.click(".run-tools button")
    assert page.plot("compare-chart", names) == ["noise"]
    page.open(board, "compare", run="noise")
    assert page.plot("compare-chart", names) == ["noise", "balanced", MANY]


def test_compare_shows_a_run_of_one_step_and_tells_of_one_that_cannot_be_read(page, logs, tmp_path):
    shutil.copytree(logs / "noise", tmp_path / "long")
    train(tmp_path / "short", epochs=1)
    write_malformed(logs / "balanced", tmp_path / "broken", "density")
    with Board(tmp_path, "true") as board:
        board.wait_for(3)
        page.open(board, "compare", run="long")
        assert page.plot("compare-chart", "data.map((trace) => trace.name)") == ["long", "short"]
        # Edges of the one column: a fifteenth of the longest run.
        left, right = page.plot("compare-chart", "data[1].x")
        assert right - left == pytest.approx(144 / 15)
        assert "broken could not be loaded. Expected densities" in page.text("compare-failed")
        [broken] = [item for item in page.all(".runs li") if item.text == "broken"]
        broken.find_element("css selector", "input").click()
        page.ready("compare")
        assert not page.find("compare-failed").is_displayed()
        page.driver.get("about:blank")
    assert {"404" in text for text in page.console()} == {True}


def test_health_leads_to_the_class(page, board):
    page.open(board, "health", run="noise")
    assert page.get("[data-kind=noise]", "data-severity") == "warning"
    assert page.text(".badge").split()[0] == str(len(page.all("[data-severity=warning]")))
    index = page.get("[data-kind=noise] .chip", "data-class")
    page.click("[data-kind=noise] .chip", "classes")
    assert f"class {index}" in page.text("class-detail")


def test_tables_as_files(page, board):
    page.open(board, "classes", run="balanced")
    rows = page.download_rows()
    # A spreadsheet must not take a name for a formula.
    assert {row["name"] for row in rows} == {*NAMES, "'=cat"} - {"=cat"}
    assert sum(float(row["count"]) for row in rows) == pytest.approx(4 * 600)
    assert {row["name"] for row in page.download_json()["rows"]} == set(NAMES)
    page.show("overview")
    assert [row["step"] for row in page.download_rows()] == ["12", "24", "36", "48"]
    assert page.download_json()["steps"] == [12, 24, 36, 48]
    page.show("compare")
    rows = page.download_rows()
    assert {row["run"] for row in rows} == {"balanced", MANY, "noise"}
    assert len(rows) == (4 + 2 + 12) * 30
    page.show("health")
    assert {row["kind"] for row in page.download_json()} >= {"noise", "skipped", "unseen"}


def test_charts_as_pictures(page, board):
    page.open(board, run="balanced")
    file = page.download("density-chart-png")
    assert file.name == "gradient_balance-density_chart-balanced-output-step_48.png"
    picture = file.read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(picture[16:20]) == 2 * page.plot("density-chart", "layout.width")
    root = xml.etree.ElementTree.fromstring(page.download("profile-chart-svg").read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "At step 48" in "".join(root.itertext())


def test_link_and_reload_restore_the_view(page, board):
    def seen():
        return page.column("class"), page.get("run-select"), page.text("class-detail")

    page.open(board, "classes", run=MANY, sort="class", order="asc")
    page.click("classes-next")
    page.click(".classes tbody tr:nth-child(4)")
    before = seen()
    assert before[0][3] == "28"
    page.find("copy-link").click()
    page.until(lambda: page.text("copy-link") == "Copied")
    link = page.get("copy-link", "data-link")
    page.follow(link, "classes")
    assert seen() == before
    page.driver.refresh()
    page.enter()
    page.ready("classes")
    assert seen() == before
    page.reload_data()
    assert seen() == before
    page.find("classes-search").send_keys(Keys.CONTROL, "v")
    assert page.get("classes-search") == link[:200]


def test_empty_log_directory_and_its_first_run(page, logs, tmp_path):
    with Board(tmp_path, "true") as board:
        page.follow(f"{board.url}#gradient_balance", "empty")
        assert "GradientBalanceTensorBoard" in page.text("empty-state")
        assert not page.find("run-select").is_displayed()
        shutil.copytree(logs / "balanced", tmp_path / "balanced")
        board.wait_for(1)
        page.follow(f"{board.url}#gradient_balance", "overview")
        page.driver.get("about:blank")


def test_what_is_missing_is_told(page, logs, tmp_path):
    def without_content(value, step):
        value.metadata.plugin_data.content = b"{}"

    def without_weights(value, step):
        return not value.tag.endswith("/weights")

    rewrite(logs / "balanced", tmp_path / "all", lambda value, step: None)
    rewrite(logs / "balanced", tmp_path / "jeux d'été", without_weights)
    rewrite(logs / "balanced", tmp_path / "broken", without_content)
    with Board(tmp_path, "true") as board:
        board.wait_for(3)
        page.open(board, run="gone", step=40)
        assert page.text("notices").splitlines() == [
            "The run “gone” is not there; “all” is shown.",
            "Step 40 is not there; step 36 is shown.",
        ]
        # Problems of other runs do not stand in the way.
        assert page.find("other-problems").location["y"] > page.find("loss-chart").location["y"]
        assert "broken" not in page.find("other-problems").text
        page.choose("run-select", "jeux d'été")
        assert "no summaries of weights" in page.text("notices")
        assert "is not there" not in page.text("notices")
        assert page.text("balance-mode") == "before (weights are missing)"
        assert "Their weights are not known." in page.text("sentence")
        for view in VIEWS:
            page.show(view)
        page.show("classes")
        file = page.download("download-csv")
        assert file.name == "gradient_balance-classes-jeux_d_été-output-step_48.csv"
        page.driver.get("about:blank")


def test_error_and_retry(page, logs):
    with Board(logs, "true") as board:
        board.wait_for(3)
        page.open(board, run="balanced")
    page.click("tab-classes", "error")
    page.click("retry", "error")
    assert page.text("error-message")
    assert {text.split("net::")[-1] for text in page.console()} == {"ERR_CONNECTION_REFUSED"}
    with Board(logs, "true", f"--port={urllib.parse.urlsplit(board.url).port}") as board:
        board.wait_for(3)
        page.click("retry", "classes")
        assert not page.find("error-state").is_displayed()
        assert len(page.column("name")) == len(NAMES)
        page.driver.get("about:blank")


def test_light_and_dark(page, board):
    def has_colours(background, chart):
        found = page.run("return getComputedStyle(document.body).backgroundColor")
        return (found, page.plot("density-chart", "layout.paper_bgcolor")) == (background, chart)

    light, dark = ("rgb(245, 245, 245)", "#ffffff"), ("rgb(48, 48, 48)", "#3a3a3a")
    page.open(board)
    assert has_colours(*light)
    page.run("parent.document.body.classList.add('dark-mode')")
    page.until(lambda: has_colours(*dark))
    page.run("parent.document.body.classList.remove('dark-mode')")
    page.until(lambda: has_colours(*light))
    # Without TensorBoard around it, the system's preference decides.
    page.driver.get(f"{board.url}data/plugin_entry.html?name=gradient_balance")
    page.ready("overview")
    assert has_colours(*light)
    page.set_up(1440, 1000, "dark")
    page.until(lambda: has_colours(*dark))


def test_path_prefix(page, logs):
    with Board(logs, "true", "--path_prefix=/team/board") as board:
        board.wait_for(3)
        page.open(board, run="balanced")
        assert "/team/board/" in page.run("return document.baseURI")
        for view in VIEWS:
            page.show(view)
        assert page.download_rows()
        page.driver.get("about:blank")


@pytest.mark.parametrize("view", VIEWS)
def test_names_are_text(page, board, view):
    # A dialog would stop the browser; an element that a name makes is found.
    page.open(board, view, run="balanced", **{"class": "1"})
    assert page.text("run-select").splitlines()[1].strip() == MANY
    if view in ("overview", "classes"):
        assert NAMES[1] in page.get(f"#panel-{view}", "textContent")
    if view == "compare":
        assert MANY in page.text("compare-runs").splitlines()
        assert MANY in page.get("compare-chart", "textContent")
    assert not page.all("b, body script:not([type=module])")


@pytest.mark.parametrize(("runs", "classes"), [(1, 10), (1, 1000), (20, 10), (20, 1000)])
def test_nothing_is_wider_than_1024_pixels(page, sizes, runs, classes):
    page.set_up(1024, 768)
    page.open(sizes[runs, classes], run="wide" if classes == 1000 else "")
    assert len(Select(page.find("run-select")).options) == runs
    for view in ("health", "compare", "overview", "classes"):
        page.show(view)
        assert page.beyond(1024) == []
    assert page.text("classes-position").endswith(f" {classes:,} classes")
    page.click(".classes tbody tr")
    assert page.beyond(1024) == []
